'use strict';

// The results as Markdown that is readable in a terminal, too.

const { labelOf, stores } = require('./stores.js');

const SMALL = '0.4 KB';

const FIGURES = [
  {
    figure: 'thread',
    title: 'Event-loop time, µs per operation (CPU time of the main thread)',
    floors: [
      { label: 'JSON.parse alone', work: 'parse', operation: 'get' },
      { label: 'JSON.stringify alone', work: 'stringify', operation: 'set' },
    ],
    exchange: true,
    digits: 2,
  },
  {
    figure: 'active',
    title: 'Event loop not idle, µs per operation (includes waiting for a core)',
    digits: 2,
  },
  { figure: 'cpu', title: 'CPU time of the process, all threads, µs per operation', digits: 2 },
  { figure: 'perSecond', title: 'Operations per second', digits: 0 },
  { figure: 'p50', title: 'Latency, p50, µs', exchange: true, digits: 0 },
  { figure: 'p99', title: 'Latency, p99, µs', digits: 0 },
];

// The rest of the figures is in results.json.
const OTHER_FIGURES = FIGURES.filter(({ figure }) => ['thread', 'perSecond', 'p99'].includes(figure));

// The figures that are compared with the faster peer, on sessions of 0.4 KB, and the ratio to reach.
const COMPARED = [
  { figure: 'thread', operation: 'get', inFlight: 128, atMost: 0.5 },
  { figure: 'thread', operation: 'set', inFlight: 128, atMost: 0.45 },
  { figure: 'thread', operation: 'touch', inFlight: 128, atMost: 0.3 },
  { figure: 'perSecond', operation: 'get', inFlight: 128, atLeast: 2 },
  { figure: 'perSecond', operation: 'set', inFlight: 128, atLeast: 2 },
  { figure: 'perSecond', operation: 'touch', inFlight: 128, atLeast: 1.8 },
  { figure: 'p50', operation: 'get', inFlight: 1, atMost: 1 },
  { figure: 'p50', operation: 'set', inFlight: 1, atMost: 1 },
  { figure: 'p50', operation: 'touch', inFlight: 1, atMost: 1 },
];

const FIGURE_NAMES = { thread: 'event-loop time', perSecond: 'operations per second', p50: 'latency p50' };

function tables(results) {
  const small = results.stores.filter(({ kind }) => kind === SMALL);
  const others = results.stores.filter(({ kind }) => kind !== SMALL);
  return `${[
    '# Benchmark',
    about(results.about),
    `## Operations on sessions of ${SMALL}`,
    ...FIGURES.map((figure) => operationsTable(figure, small, results)),
    '## Operations on other sessions',
    ...OTHER_FIGURES.map((figure) => operationsTable(figure, others, results)),
    '## Express: requests of signed-in visitors (one get and one touch each)',
    expressTable(results.express),
    '## Against the faster of connect-redis 10 and 8.1',
    ratioTable(results.ratios),
  ].join('\n\n')}\n`;
}

function about({ date, cpu, cores, system, node, redis, packages, threadClock, rounds, roundMs, express }) {
  const versions = Object.entries(packages).map(([name, version]) => `${name} ${version}`);
  return [
    `- ${date}, ${cpu}, ${cores} cores, ${system}; server and clients on this one machine`,
    `- Node ${node}, Redis ${redis}`,
    `- ${versions.join(', ')}`,
    `- Medians of ${rounds} rounds of ${roundMs} ms each, of ${express.rounds} rounds of ${express.ms} ms with ` +
      `${express.connections} connections for Express; CPU time of the main thread by ${threadClock}`,
  ].join('\n');
}

function operationsTable({ figure, title, floors = [], exchange, digits }, measured, results) {
  const columns = unique(measured.map(columnOf));
  const entriesOf = (name) =>
    columns.map((column) => measured.find((entry) => entry.store === name && columnOf(entry) === column));
  const names = unique(measured.map(({ store }) => store));
  const row = (label, entries, figureOf) => [
    label,
    ...entries.map((entry) => {
      const value = figureOf(entry);
      return value === undefined ? '' : format(value, digits);
    }),
  ];
  const rows = names.map((name) => row(labelOf(name), entriesOf(name), (entry) => entry[figure]));
  const tasks = entriesOf(names[0]);
  for (const { label, work, operation } of floors) {
    const floorOf = ({ kind }) => results.floors.find((one) => one.operation === work && one.kind === kind);
    rows.push(
      row(label, tasks, (task) => (task.operation === operation ? floorOf(task)[figure] : undefined)),
    );
  }
  if (exchange && tasks.some(({ inFlight }) => inFlight === 1))
    rows.push(
      row('PING on a bare socket of Node', tasks, ({ inFlight }) =>
        inFlight === 1 ? results.exchange[figure] : undefined,
      ),
    );
  return `### ${title}\n\n${table(['', ...columns], rows)}`;
}

function columnOf({ kind, operation, inFlight }) {
  const column = `${operation} × ${inFlight}`;
  return kind === SMALL ? column : `${kind}, ${column}`;
}

function expressTable(express) {
  const heads = ['', 'requests/s', 'p50, µs', 'p99, µs', 'event loop, µs/request', 'process CPU, µs/request'];
  const rows = express.map(({ store, perSecond, p50, p99, thread, cpu }) => [
    labelOf(store),
    ...[perSecond, p50, p99].map((value) => format(value, 0)),
    ...[thread, cpu].map((value) => format(value, 1)),
  ]);
  return table(heads, rows);
}

/** Compares this package with the faster of its peers, figure by figure; empty without either of them. */
function ratios(measured) {
  const figureOf = (store, { figure, operation, inFlight }) =>
    measured.find(
      (entry) =>
        entry.store === store &&
        entry.kind === SMALL &&
        entry.operation === operation &&
        entry.inFlight === inFlight,
    )?.[figure];
  const peers = Object.keys(stores).filter((key) => stores[key].peer);

  return COMPARED.flatMap((target) => {
    const own = figureOf('native', target);
    const others = peers.map((peer) => figureOf(peer, target)).filter((value) => value !== undefined);
    if (own === undefined || others.length === 0) return [];
    const best = target.figure === 'perSecond' ? Math.max(...others) : Math.min(...others);
    const ratio = own / best;
    return [{ ...target, own, best, ratio }];
  });
}

function ratioTable(compared) {
  if (compared.length === 0) return 'Not measured in this run.';
  const rows = compared.map(({ figure, operation, inFlight, own, best, ratio, atMost, atLeast }) => [
    `${FIGURE_NAMES[figure]}, ${operation} × ${inFlight}`,
    ...[own, best].map((value) => format(value, figure === 'thread' ? 2 : 0)),
    ratio.toFixed(2),
    ...verdict(ratio, atMost, atLeast),
  ]);
  return table(['', 'connect-redis-native', 'faster peer', 'ratio', 'target', 'met'], rows);
}

function verdict(ratio, atMost, atLeast) {
  if (atMost !== undefined) return [`≤ ${atMost.toFixed(2)}`, ratio <= atMost ? 'yes' : 'no'];
  return [`≥ ${atLeast.toFixed(2)}`, ratio >= atLeast ? 'yes' : 'no'];
}

function table(heads, rows) {
  const widths = heads.map((head, column) =>
    Math.max(3, head.length, ...rows.map((row) => row[column].length)),
  );
  const line = (cells) =>
    `| ${cells.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column]))).join(' | ')} |`;
  const rule = widths.map((width, column) =>
    column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`,
  );
  return [line(heads), `| ${rule.join(' | ')} |`, ...rows.map(line)].join('\n');
}

function format(value, digits) {
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function unique(values) {
  return [...new Set(values)];
}

module.exports = { tables, ratios, table, format };
