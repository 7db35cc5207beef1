'use strict';

// Checks that no session outlives its deadline, whatever apps, clocks, servers and connect-redis do: random sequences of
// requests on sessions that last 400 ms at most, or 3 s where primaries fail.

const { seeded } = require('../__test__/support/random.js');
const { startChild } = require('./children.js');
const { deployments, injectFaults } = require('./deployments.js');
const { format, table } = require('./tables.js');

const SHORT = { parallel: 150, maxLifetime: 400 };
/** Long enough that sessions live through a failover. */
const LONG = { parallel: 400, maxLifetime: 3000 };

/** The runs on one deployment: stores, whether clocks step, and the number of sequences. */
const STANDALONE = [
  { name: 'native', hasSteps: true, stores: [{}], count: 13_000 },
  { name: 'native, cache', hasSteps: true, stores: [{ cache: true }], count: 13_000 },
  {
    name: 'native, onConflict, idleTimeout',
    hasSteps: true,
    stores: [{ onConflict: 'merge', idleTimeout: 0.2 }],
    count: 13_000,
  },
  { name: 'client', hasSteps: true, stores: [{ transport: 'client' }], count: 13_000 },
  {
    name: 'all of them',
    hasSteps: false,
    stores: [{}, { cache: true }, { transport: 'client' }],
    count: 13_000,
  },
];
const WITH_FAULTS = [
  { name: 'native', hasSteps: true, stores: [{}], count: 7500 },
  {
    name: 'native, cache, onConflict',
    hasSteps: true,
    stores: [{ cache: true, onConflict: 'merge' }],
    count: 5000,
  },
  { name: 'client', hasSteps: true, stores: [{ transport: 'client' }], count: 5000 },
];
/** The part of the sequences that a quick run has. */
const QUICK = 0.04;

/** Returns false if a session was returned, or a key lived, for more than 100 ms beyond its deadline. */
async function checkLifetimes({ node, quick, seed, server, program }) {
  console.log(`Seed ${seed}, ${server}\n`);
  const rows = [];
  const injected = {};
  let isWell = true;
  for (const [kind, start] of Object.entries(deployments)) {
    const hasFaults = kind !== 'standalone';
    const deployment = await start(program);
    try {
      for (const { name, count, ...run } of hasFaults ? WITH_FAULTS : STANDALONE) {
        process.stderr.write(`${kind}: ${name}\n`);
        const plan = { ...run, ...(hasFaults ? LONG : SHORT), count: quick ? count * QUICK : count, seed };
        const found = await runOn(deployment, { ...plan, hasFaults }, node, injected);
        const { sequences, reads, ended, failed, late, long, cookies } = found;
        const failures = [late, long, cookies];
        isWell &&= failures.every(({ length }) => length === 0);
        for (const failure of failures.flat().slice(0, 10)) console.error(JSON.stringify(failure));
        const figures = [sequences, reads, ended, failed, ...failures.map(({ length }) => length)];
        const steps = run.hasSteps ? 'yes' : 'no';
        rows.push([kind, name, steps, ...figures.map((figure) => format(figure, 0))]);
      }
    } finally {
      await deployment.stop();
    }
  }
  const head = ['servers', 'stores', 'clock steps', 'sequences', 'reads', 'found ended', 'failed'];
  const beyond = ['returned late', 'lifetimes beyond', 'cookies beyond'];
  console.log(`${table([...head, ...beyond], rows)}\n`);
  const faults = Object.entries(injected).map(([what, count]) => [what, format(count, 0)]);
  console.log(table(['fault', 'times'], faults));
  return isWell;
}

/** Runs sequences in a process of its own, while servers fail. */
async function runOn(deployment, plan, node, injected) {
  const child = startChild(require.resolve('./lifetimes-process.js'), [], { node });
  const random = seeded(plan.seed);
  let isOver = false;
  try {
    const run = child.call('run', { ...plan, place: deployment.place }).finally(() => {
      isOver = true;
    });
    const below = (limit) => Math.floor(random() * limit);
    const faults = plan.hasFaults
      ? injectFaults(deployment, { below, isOver: () => isOver, injected })
      : undefined;
    const [found] = await Promise.all([run, faults]);
    return found;
  } finally {
    await child.stop();
  }
}

module.exports = { checkLifetimes };
