'use strict';

// Whether memory grows with use, and what many stores in one process take.

const { startRedis } = require('../scripts/redis.js');
const { startChild } = require('./children.js');
const { format, table } = require('./tables.js');

const FULL = { operations: 5_000_000, step: 500_000, inFlight: 128, stores: 50 };
const QUICK = { ...FULL, operations: 500_000, step: 100_000 };

async function measureMemory({ node, quick, store = 'native' }) {
  const plan = quick ? QUICK : FULL;
  const redis = await startRedis();
  const args = [store, redis.url];
  const child = startChild(require.resolve('./memory-process.js'), args, { node, execArgv: ['--expose-gc'] });
  try {
    console.log(`Operations on ${store} (half of them get, the rest set, touch and destroy), MB:\n`);
    const rows = [];
    for (let done = 0; done <= plan.operations; done += plan.step) {
      if (done > 0) await child.call('operate', { count: plan.step, inFlight: plan.inFlight });
      const { rss, heapUsed, external } = await child.call('memory');
      rows.push([format(done, 0), ...[rss, heapUsed, external].map((bytes) => format(bytes / 1e6, 1))]);
      process.stderr.write(`${format(done, 0)} of ${format(plan.operations, 0)}\n`);
    }
    console.log(table(['operations', 'RSS', 'JavaScript heap', 'external'], rows));

    const counts = await child.call('countThreads', plan.stores);
    console.log(`\nThreads of the process and its RSS:\n`);
    console.log(
      table(
        ['', 'threads', 'RSS, MB'],
        counts.map(({ when, threads, rss }) => [when, threads, format(rss / 1e6, 1)]),
      ),
    );
  } finally {
    await child.stop();
    await redis.stop();
  }
}

module.exports = { measureMemory };
