'use strict';

// npm run bench: compares the stores; see bench/README.md.

const path = require('node:path');
const { parseArgs } = require('node:util');

const USAGE = `npm run bench -- [options]
  --quick          a smoke test in about a minute; its figures mean little, and it writes no files unless
                   --out is given
  --node <which>   the Node of the measured processes: a version, such as 24, or the path of a binary
  --out <folder>   where to write results and charts (default: bench/results)
  --stores <keys>  only these: native, connect-redis10, connect-redis8, memory
  --baseline <dir> adds a built checkout of another commit as one more store, "baseline"
  --startup        how long the package takes to load, instead of the comparison
  --bulk           the operations on all sessions, at a million of them, instead of the comparison
  --server <name>  the server for --bulk, --user-index and --lifetimes: such as 'Redis 8.2', which comes from PyPI
                   (default: the system's)
  --conflicts      concurrent requests that change the same sessions, instead of the comparison
  --memory         what five million operations and fifty stores take, instead of the comparison
  --chaos          more than a million operations while servers and networks fail at random, instead of the
                   comparison; fails if anything is lost, mixed up or late
  --coherence      more than a million reads with a cache and as many without one, while others write and networks
                   fail, instead of the comparison; fails if one is stale
  --lifetimes      100,000 random sequences on sessions with a maxLifetime, while clocks step and primaries fail,
                   instead of the comparison; fails if one outlives its deadline
  --user-index     a million logins, logouts, changes of user and destroyAllOf, while processes are killed and servers
                   fail over, instead of the comparison; fails if an index is incomplete or a session survives
  --large          the cost of sessions of 4 to 256 KB beyond that of the JSON work, instead of the comparison
  --cache          what the cache does for reads, for requests of an app and to memory, instead of the comparison
  --seed <number>  of what fails (default: a random one, which is printed)
`;

async function main() {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      node: { type: 'string' },
      out: { type: 'string' },
      stores: { type: 'string' },
      baseline: { type: 'string' },
      startup: { type: 'boolean' },
      memory: { type: 'boolean' },
      bulk: { type: 'boolean' },
      server: { type: 'string' },
      conflicts: { type: 'boolean' },
      chaos: { type: 'boolean' },
      coherence: { type: 'boolean' },
      lifetimes: { type: 'boolean' },
      'user-index': { type: 'boolean' },
      cache: { type: 'boolean' },
      large: { type: 'boolean' },
      seed: { type: 'string' },
      help: { type: 'boolean' },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return;
  }

  await require('./setup.js').setUp();

  // The measured processes inherit it.
  if (values.baseline !== undefined) process.env.BENCH_BASELINE = path.resolve(values.baseline);
  const { nodeBinary } = require('./node-binary.js');
  const { others, stores } = require('../bench/stores.js');
  const options = { node: nodeBinary(values.node), quick: values.quick };
  if (values.startup) {
    require('../bench/startup.js').measureStartup(options);
    return;
  }
  if (values.chaos || values.coherence || values.lifetimes || values['user-index']) {
    const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(values.seed);
    if (!Number.isInteger(seed)) throw new Error(`The seed must be a whole number.\n${USAGE}`);
    const checks = {
      coherence: async () => (await require('../bench/coherence.js').checkCoherence({ ...options, seed })).ok,
      lifetimes: () =>
        require('../bench/lifetimes.js').checkLifetimes({ ...options, seed, ...serverNamed(values.server) }),
      'user-index': () =>
        require('../bench/user-index.js').runUserIndex({ ...options, seed, ...serverNamed(values.server) }),
      chaos: () => require('../bench/chaos.js').runChaos({ ...options, seed }),
    };
    const name = Object.keys(checks).find((one) => values[one]);
    if (!(await checks[name]())) process.exitCode = 1;
    return;
  }
  const out = values.out ?? (values.quick ? undefined : path.join(__dirname, '..', 'bench', 'results'));
  if (values.cache) {
    await require('../bench/cache.js').measureCache({ ...options, out });
    return;
  }
  if (values.memory) {
    await require('../bench/memory.js').measureMemory({ ...options, out });
    return;
  }
  if (values.conflicts) {
    await require('../bench/conflicts.js').measureConflicts(options);
    return;
  }
  const keys = values.stores?.split(',') ?? Object.keys(stores);
  const unknown = keys.filter((key) => (stores[key] ?? others[key]) === undefined);
  if (unknown.length > 0) throw new Error(`There is no store called ${unknown.join(', ')}.\n${USAGE}`);
  if (values.bulk) {
    await require('../bench/bulk.js').measureBulk({
      ...options,
      out,
      ...serverNamed(values.server),
      stores: keys.filter((key) => key !== 'memory'),
    });
    return;
  }
  if (values.large) {
    await require('../bench/large.js').measureLarge({ ...options, stores: keys });
    return;
  }
  await require('../bench/main.js').compare({ ...options, stores: keys, out });
}

/** Returns the server of this name, installed first if necessary; without a name, the system's. */
function serverNamed(name) {
  const { findServers, installServers } = require('./servers.js');
  if (name !== undefined) installServers();
  const servers = findServers();
  const server = name === undefined ? servers[0] : servers.find((one) => one.name === name);
  if (!server?.program)
    throw new Error(
      `There is no server called ${name} here, but ${servers.map((one) => one.name).join(', ')}.`,
    );
  return { server: server.name, program: server.program };
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
