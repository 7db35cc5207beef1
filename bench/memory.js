'use strict';

// Checks that memory does not grow with use, and measures what many stores in one process need.

const { execFileSync } = require('node:child_process');
const { mkdirSync, writeFileSync } = require('node:fs');
const path = require('node:path');
const { startRedis } = require('../scripts/redis.js');
const { startChild } = require('./children.js');
const { format, table } = require('./tables.js');

// V8's young generation has its full size from the start: otherwise it grows in steps, at some time within millions of
// operations, which would look like a leak.
const FLAGS = ['--expose-gc', '--min-semi-space-size=16', '--max-semi-space-size=16'];
const FULL = { operations: 5_000_000, step: 500_000, inFlight: 128, stores: 50 };
const QUICK = { ...FULL, operations: 500_000, step: 100_000 };

/** Prints what it finds; also writes it to the folder `out`, if there is one. */
async function measureMemory({ node, quick, store = 'native', out }) {
  const plan = quick ? QUICK : FULL;
  const version = execFileSync(node, ['--version'], { encoding: 'utf8' }).trim();
  const redis = await startRedis();
  const args = [store, redis.url];
  const child = startChild(require.resolve('./memory-process.js'), args, { node, execArgv: FLAGS });
  try {
    const rows = [];
    for (let done = 0; done <= plan.operations; done += plan.step) {
      if (done > 0) await child.call('operate', { count: plan.step, inFlight: plan.inFlight });
      const { rss, heapUsed, external } = await child.call('memory');
      rows.push([format(done, 0), ...[rss, heapUsed, external].map((bytes) => format(bytes / 1e6, 1))]);
      process.stderr.write(`${format(done, 0)} of ${format(plan.operations, 0)}\n`);
    }
    const counts = await child.call('countThreads', plan.stores);
    const text = `${[
      '# Memory and threads',
      `Node ${version}, ${plan.inFlight} operations in flight on a thousand sessions of 0.4 KB, after garbage collection, ` +
        `with ${FLAGS.slice(1).join(' ')}. Half of the operations are get, the rest set, touch and destroy. In MB:`,
      table(['operations', 'RSS', 'JavaScript heap', 'external'], rows),
      'The same process, with more stores:',
      table(
        ['', 'threads', 'RSS, MB'],
        counts.map(({ when, threads, rss }) => [when, threads, format(rss / 1e6, 1)]),
      ),
    ].join('\n\n')}\n`;
    console.log(text);
    if (out) {
      mkdirSync(out, { recursive: true });
      writeFileSync(path.join(out, 'memory.md'), text);
    }
  } finally {
    await child.stop();
    await redis.stop();
  }
}

module.exports = { measureMemory };
