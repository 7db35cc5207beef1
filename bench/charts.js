'use strict';

// Draws the results as bar charts in SVG. Each chart has its own background, light or dark as the reader prefers, so
// that it is readable on any page.

const { stores } = require('./stores.js');

const SMALL = '0.4 KB';
const OPERATIONS = ['get', 'set', 'touch'];

const WIDTH = 760;
const MARGIN = 24;
const HEAD = 74;
const LABELS = 190; // width of the column with the stores' names
const VALUES = 150; // space for the figure at the end of the longest bar
const BAR = 16;
const BAR_GAP = 6;
const GROUP_HEAD = 26;
const GROUP_GAP = 14;

const STYLE = `
    text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
    .title { font-size: 17px; font-weight: 600 }
    .soft { fill: #59636e; font-size: 12px }
    .group { font-weight: 600 }
    .page { fill: #ffffff; stroke: #d1d9e0 }
    .native { fill: #c2410c }
    .peer { fill: #5b7ba6 }
    .other { fill: #9aa4af }
    .mark { stroke: #1f2328; stroke-width: 2 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 }
      .soft { fill: #9aa5b1 }
      .page { fill: #0d1117; stroke: #3d444d }
      .native { fill: #fb7c3c }
      .peer { fill: #6f93c4 }
      .other { fill: #68717b }
      .mark { stroke: #e6edf3 }
    }`;

function eventLoop(results) {
  const floorOf = { get: 'parse', set: 'stringify' };
  return chart({
    title: 'Event-loop time per operation: less is better',
    subtitle: `µs of the main thread, sessions of ${SMALL}, 128 in flight; the line is JSON.parse or JSON.stringify alone`,
    groups: groupsOf(results, 128, ({ operation, thread }) => ({
      value: thread,
      text: thread.toFixed(1),
      mark: results.floors.find(({ kind, operation: work }) => kind === SMALL && work === floorOf[operation])
        ?.thread,
    })),
    about: results.about,
  });
}

function throughput(results) {
  return chart({
    title: 'Operations per second: more is better',
    subtitle: `One Node process, sessions of ${SMALL}, 128 in flight`,
    groups: groupsOf(results, 128, ({ perSecond }) => ({
      value: perSecond,
      text: Math.round(perSecond).toLocaleString('en-US'),
    })),
    about: results.about,
  });
}

function latency(results) {
  // MemoryStore has no server: its latency is one turn of the event loop.
  const overNetwork = { ...results, stores: results.stores.filter(({ store }) => store !== 'memory') };
  return chart({
    title: 'Latency of one operation at a time: less is better',
    subtitle: `Median in µs, one operation in flight, sessions of ${SMALL}; in brackets the 99th percentile`,
    groups: groupsOf(overNetwork, 1, ({ p50, p99 }) => ({
      value: p50,
      text: `${Math.round(p50)} (${Math.round(p99)})`,
    })),
    about: results.about,
  });
}

function groupsOf({ stores: measured }, inFlight, barOf) {
  return OPERATIONS.map((operation) => ({
    name: operation,
    bars: measured
      .filter((entry) => stores[entry.store] !== undefined)
      .filter((entry) => entry.kind === SMALL && entry.inFlight === inFlight && entry.operation === operation)
      .map((entry) => ({ ...labelAndClass(entry.store), ...barOf(entry) })),
  }));
}

function labelAndClass(key) {
  const { label, peer } = stores[key];
  return { label, className: key === 'native' ? 'native' : peer ? 'peer' : 'other' };
}

/**
 * A bar is `{ label, className, value, text, mark }`: `text` is written next to it, `mark` is a second value,
 * drawn as a line across it. One scale applies to all groups.
 */
function chart({ title, subtitle, groups, about }) {
  const bars = groups.flatMap((group) => group.bars);
  const greatest = Math.max(...bars.map(({ value, mark = 0 }) => Math.max(value, mark)));
  const lengthOf = (value) => (value / greatest) * (WIDTH - 2 * MARGIN - LABELS - VALUES);
  const left = MARGIN + LABELS;

  const parts = [];
  let y = HEAD;
  for (const { name, bars: groupBars } of groups) {
    parts.push(`<text class="group" x="${MARGIN}" y="${y + 15}">${escapeXml(name)}</text>`);
    y += GROUP_HEAD;
    for (const { label, className, value, text, mark } of groupBars) {
      const middle = y + BAR - 3;
      const end = left + lengthOf(Math.max(value, mark ?? 0));
      parts.push(
        `<text x="${left - 10}" y="${middle}" text-anchor="end">${escapeXml(label)}</text>`,
        `<rect class="${className}" x="${left}" y="${y}" width="${round(lengthOf(value))}" height="${BAR}" rx="2"/>`,
        `<text x="${round(end + 8)}" y="${middle}">${escapeXml(text)}</text>`,
      );
      if (mark !== undefined) {
        const x = round(left + lengthOf(mark));
        parts.push(`<line class="mark" x1="${x}" x2="${x}" y1="${y - 2}" y2="${y + BAR + 2}"/>`);
      }
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

module.exports = { eventLoop, throughput, latency };
