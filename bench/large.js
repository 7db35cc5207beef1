'use strict';

// Large sessions: event-loop time per operation, and by how much it exceeds that of the JSON work alone.

const { startRedis } = require('../scripts/redis.js');
const { cases, measureStores } = require('./main.js');
const { table } = require('./tables.js');

const CASES = [
  ...cases(['get', 'set'], '4 KB', [16, 128]),
  ...cases(['get', 'set'], '64 KB', [16]),
  ...cases(['get', 'set'], '256 KB', [16]),
];
/** The ratio to reach; with 16 operations of 4 KB in flight, waking the event loop is the larger part. */
const AT_MOST = {
  '4 KB, get × 128': 1.12,
  '4 KB, set × 128': 1.15,
  '64 KB, get × 16': 1.12,
  '64 KB, set × 16': 1.2,
};
const FULL = { rounds: 15, ms: 300, warmUpMs: 1000, cases: CASES };
const QUICK = { rounds: 3, ms: 100, warmUpMs: 200, cases: CASES };

const FLOORS = { get: 'parse', set: 'stringify' };

async function measureLarge({ node, quick, stores }) {
  const redis = await startRedis();
  try {
    const { measured, floors } = await measureStores(quick ? QUICK : FULL, stores, redis.url, node);
    const figureOf = (store, task) =>
      measured.find(
        (one) =>
          one.store === store &&
          one.operation === task.operation &&
          one.kind === task.kind &&
          one.inFlight === task.inFlight,
      ).thread;
    const floorOf = ({ operation, kind }) =>
      floors.find((one) => one.operation === FLOORS[operation] && one.kind === kind).thread;
    const rows = CASES.map((task) => {
      const name = `${task.kind}, ${task.operation} × ${task.inFlight}`;
      const floor = floorOf(task);
      const figures = stores.map((store) => figureOf(store, task));
      return [
        name,
        floor.toFixed(1),
        ...figures.map((figure) => `${figure.toFixed(1)} (${(figure / floor).toFixed(2)})`),
        AT_MOST[name] === undefined ? '' : `≤ ${AT_MOST[name].toFixed(2)}`,
      ];
    });
    console.log('Event-loop time, µs per operation (and as a multiple of the JSON work alone)\n');
    console.log(table(['', 'JSON alone', ...stores, 'target'], rows));
  } finally {
    await redis.stop();
  }
}

module.exports = { measureLarge };
