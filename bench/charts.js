'use strict';

// Draws the results as bar charts in SVG. Each chart has its own background, light or dark as the reader prefers, so
// that it is readable on any page.

const { execFileSync } = require('node:child_process');
const { mkdirSync, writeFileSync } = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { NO_STORE, labelOf, stores } = require('./stores.js');

const SMALL = '0.4 KB';
const OPERATIONS = ['get', 'set', 'touch'];

const WIDTH = 760;
const MARGIN = 24;
const HEAD = 92;
const LABELS = 275; // width of the column with the stores' names
const VALUES = 140; // space for the figure at the end of the longest bar
const BAR = 16;
const BAR_GAP = 6;
const GROUP_HEAD = 26;
const GROUP_GAP = 14;
const CAP = 4; // half the height of the ends of a range

const STYLE = `
    text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
    .title { font-size: 17px; font-weight: 600 }
    .soft { fill: #59636e; font-size: 12px }
    .group { font-weight: 600 }
    .page { fill: #ffffff; stroke: #d1d9e0 }
    .native { fill: #0b6b7b }
    .peer { fill: #a9b2bc }
    .other { fill: #d3d9df }
    .range { stroke: #1f2328; stroke-width: 1.5; fill: none }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 }
      .soft { fill: #9aa5b1 }
      .page { fill: #0d1117; stroke: #3d444d }
      .native { fill: #3fa7b5 }
      .peer { fill: #6a737d }
      .other { fill: #444c56 }
      .range { stroke: #e6edf3 }
    }`;

function eventLoop(results) {
  return chart({
    title: 'Event-loop time per operation: less is better',
    subtitle: `µs of the main thread, sessions of ${SMALL}, 128 in flight`,
    groups: operations(results, 128, 'thread', (value) => value.toFixed(1)),
    about: results.about,
  });
}

function throughput(results) {
  return chart({
    title: 'Operations per second: more is better',
    subtitle: `One Node process, sessions of ${SMALL}, 128 in flight`,
    groups: operations(results, 128, 'perSecond', (value) => Math.round(value).toLocaleString('en-US')),
    about: results.about,
  });
}

function latency(results) {
  // MemoryStore has no server: its latency is one turn of the event loop.
  const overNetwork = { ...results, stores: results.stores.filter(({ store }) => store !== 'memory') };
  return chart({
    title: 'Latency of one operation at a time: less is better',
    subtitle: `Median in µs, one operation in flight, sessions of ${SMALL}`,
    groups: operations(overNetwork, 1, 'p50', (value) => String(Math.round(value))),
    about: results.about,
  });
}

function express(results) {
  const entries = results.express.filter(({ store }) => store === NO_STORE || stores[store] !== undefined);
  return chart({
    title: 'Event-loop time of a whole Express request: less is better',
    subtitle: 'µs of the main thread; each request of a signed-in visitor reads and touches the session',
    groups: [{ name: '', bars: barsOf(entries, 'thread', (value) => String(Math.round(value))) }],
    about: results.about,
  });
}

/** Draws the results of `--cache`: requests of an app whose Redis is some distance away. */
function page({ requests, distance, about }) {
  const milliseconds = (value) => (value / 1000).toFixed(2);
  return chart({
    title: `A page of a signed-in visitor, Redis ${distance.toFixed(1)} ms away: less is better`,
    subtitle: 'ms for a request to an Express app that reads the session; median and 99th percentile',
    groups: [
      { name: 'median', bars: barsOf(requests, 'p50', milliseconds) },
      { name: '99th percentile', bars: barsOf(requests, 'p99', milliseconds) },
    ],
    about,
  });
}

/** Draws the results of `--bulk`: stalls of the event loop. */
function stalls({ sessions, operations: measured, about }) {
  const digits = (value) => (value < 100 ? value.toFixed(1) : Math.round(value).toLocaleString('en-US'));
  return chart({
    title: 'Longest stall of the event loop: less is better',
    subtitle: `ms without a turn of the event loop, ${sessions.toLocaleString('en-US')} sessions; the worst round`,
    groups: ['all', 'clear', 'ids', 'length'].map((name) => ({
      name,
      bars: barsOf(
        measured.filter(({ operation }) => operation === name),
        'stall',
        digits,
      ),
    })),
    about,
  });
}

function operations({ stores: measured }, inFlight, figure, format) {
  return OPERATIONS.map((name) => ({
    name,
    bars: barsOf(
      measured.filter(
        (entry) =>
          stores[entry.store] !== undefined &&
          entry.kind === SMALL &&
          entry.inFlight === inFlight &&
          entry.operation === name,
      ),
      figure,
      format,
    ),
  }));
}

/** Returns a bar for each store: its figure, the range over the rounds, and the multiple of the first one's figure. */
function barsOf(entries, figure, format) {
  const first = entries[0]?.[figure];
  return entries.map(({ store, spread, [figure]: value }, index) => {
    const multiple = index === 0 ? '' : ` · ${multipleOf(value / first)}×`;
    return {
      label: labelOf(store),
      className: isOwn(store) ? 'native' : stores[store]?.peer ? 'peer' : 'other',
      value,
      range: spread?.[figure] ?? [value, value],
      text: format(value) + multiple,
    };
  });
}

const isOwn = (store) => store.startsWith('native') || store.startsWith('near');

const multipleOf = (ratio) => (ratio < 10 ? ratio.toFixed(ratio < 1 ? 2 : 1) : String(Math.round(ratio)));

/**
 * A bar is `{ label, className, value, range, text }`: `range` is drawn as a line across the end of the bar, `text` is
 * written next to it. One scale applies to all groups.
 */
function chart({ title, subtitle, groups, about }) {
  const greatest = Math.max(...groups.flatMap(({ bars }) => bars.map(({ range }) => range[1])));
  const lengthOf = (value) => (value / greatest) * (WIDTH - 2 * MARGIN - LABELS - VALUES);
  const left = MARGIN + LABELS;

  const parts = [];
  let y = HEAD;
  for (const { name, bars } of groups) {
    if (name !== '') {
      parts.push(`<text class="group" x="${MARGIN}" y="${y + 15}">${escapeXml(name)}</text>`);
      y += GROUP_HEAD;
    }
    for (const { label, className, value, range, text } of bars) {
      const [least, most] = range.map((end) => round(left + lengthOf(end)));
      const baseline = y + BAR - 3;
      const middle = y + BAR / 2;
      parts.push(
        `<text x="${left - 10}" y="${baseline}" text-anchor="end">${escapeXml(label)}</text>`,
        `<rect class="${className}" x="${left}" y="${y}" width="${round(lengthOf(value))}" height="${BAR}" rx="2"/>`,
        `<text x="${round(most + 8)}" y="${baseline}">${escapeXml(text)}</text>`,
      );
      if (most - least >= 1)
        parts.push(
          `<path class="range" d="M${least} ${middle - CAP}v${2 * CAP}M${least} ${middle}H${most}M${most} ${middle - CAP}v${2 * CAP}"/>`,
        );
      y += BAR + BAR_GAP;
    }
    y += GROUP_GAP;
  }
  const source = `Node ${about.node}, Redis ${about.redis}, ${about.cpu}, ${about.cores} cores, ${about.date}`;
  const height = y + MARGIN;

  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="${escapeXml(title)}">
  <style>${STYLE}
  </style>
  <rect class="page" x="0.5" y="0.5" width="${WIDTH - 1}" height="${height - 1}" rx="8"/>
  <text class="title" x="${MARGIN}" y="34">${escapeXml(title)}</text>
  <text class="soft" x="${MARGIN}" y="54">${escapeXml(subtitle)}</text>
  <text class="soft" x="${MARGIN}" y="72">Lines: range over the rounds. ×: multiple of the first bar.</text>
  ${parts.join('\n  ')}
  <text class="soft" x="${MARGIN}" y="${height - 16}">${escapeXml(source)}</text>
</svg>
`;
}

function round(value) {
  return Math.round(value * 10) / 10;
}

function escapeXml(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
}

/** Returns the machine and versions of a measurement, for `about`. @param {string} node the binary of the processes */
async function machine(node, redis) {
  const info = String(await redis.command('INFO', 'server'));
  return {
    date: new Date().toISOString().slice(0, 10),
    cpu: os.cpus()[0].model.trim(),
    cores: os.cpus().length,
    node: execFileSync(node, ['--version'], { encoding: 'utf8' }).trim(),
    redis: /redis_version:(\S+)/.exec(info)[1],
  };
}

/** Writes results and their chart, such as `bulk.json` and `stalls.svg`. */
function writeChart(out, name, results, chartName, draw) {
  mkdirSync(out, { recursive: true });
  writeFileSync(path.join(out, `${name}.json`), `${JSON.stringify(results, null, 1)}\n`);
  writeFileSync(path.join(out, `${chartName}.svg`), draw(results));
  console.log(`Written to ${path.relative(process.cwd(), out)}: ${name}.json, ${chartName}.svg`);
}

module.exports = { eventLoop, express, latency, machine, page, stalls, throughput, writeChart };
