'use strict';

// Checks that no session outlives its deadline, whatever apps, clocks and connect-redis do: random sequences of requests
// on sessions that last 400 ms at most.

const { startRedis } = require('../scripts/redis.js');
const { startChild } = require('./children.js');
const { format, table } = require('./tables.js');

const FULL = { count: 20_000, parallel: 150, maxLifetime: 400 };
const QUICK = { ...FULL, count: 1000 };

const RUNS = [
  { name: 'native', hasSteps: true, stores: [{}] },
  { name: 'native, cache', hasSteps: true, stores: [{ cache: true }] },
  {
    name: 'native, onConflict, idleTimeout',
    hasSteps: true,
    stores: [{ onConflict: 'merge', idleTimeout: 0.2 }],
  },
  { name: 'client', hasSteps: true, stores: [{ transport: 'client' }] },
  { name: 'all of them', hasSteps: false, stores: [{}, { cache: true }, { transport: 'client' }] },
];

/** Returns false if a session was returned, or a key lived, for more than 100 ms beyond its deadline. */
async function checkLifetimes({ node, quick, seed }) {
  const plan = quick ? QUICK : FULL;
  console.log(`Seed ${seed}\n`);
  const server = await startRedis();
  const rows = [];
  let isWell = true;
  try {
    for (const { name, ...run } of RUNS) {
      process.stderr.write(`${name}\n`);
      const child = startChild(require.resolve('./lifetimes-process.js'), [], { node });
      try {
        const { url, port } = server;
        const found = await child.call('run', { ...plan, ...run, url, port, seed });
        const { sequences, reads, ended, late, long, cookies } = found;
        const failures = [late, long, cookies];
        isWell &&= failures.every(({ length }) => length === 0);
        for (const failure of failures.flat().slice(0, 10)) console.error(JSON.stringify(failure));
        const figures = [sequences, reads, ended, ...failures.map(({ length }) => length)];
        rows.push([name, run.hasSteps ? 'yes' : 'no', ...figures.map((figure) => format(figure, 0))]);
      } finally {
        await child.stop();
      }
    }
  } finally {
    await server.stop();
  }
  const beyond = ['returned late', 'lifetimes beyond', 'cookies beyond'];
  console.log(table(['stores', 'clock steps', 'sequences', 'reads', 'found ended', ...beyond], rows));
  return isWell;
}

module.exports = { checkLifetimes };
