'use strict';

// Checks that nothing is lost, mixed up or late when servers and networks fail at random. Servers and networks are in
// this process, the stores in another one, so that its memory and event loop are its own.

const { setTimeout: sleep } = require('node:timers/promises');
const { startProxy } = require('../__test__/support/proxy.js');
const { seeded } = require('../__test__/support/random.js');
const { connectRaw } = require('../__test__/support/redis.js');
const { ask, startRedis } = require('../scripts/redis.js');
const { startChild } = require('./children.js');
const { format, table } = require('./tables.js');

/** A run lasts until both are reached, but no longer than `limitMs`. */
const FULL = { ms: 240_000, operations: 1_000_000, limitMs: 480_000, visitors: 64 };
const QUICK = { ms: 20_000, operations: 50_000, limitMs: 60_000, visitors: 64 };

/** Arguments of a server that keeps acknowledged writes, even when it is killed. */
const DURABLE = ['--appendonly', 'yes', '--appendfsync', 'always'];

/** The stores: each has its own network but the last, which shares a connection with the first. */
const STORES = [
  { name: 'a', source: 'url', network: 0 },
  { name: 'b', source: 'redis6', network: 1 },
  { name: 'c', source: 'ioredis6', network: 2 },
  { name: 'd', source: 'url', network: 0 },
];
/** The server behind each network. */
const SERVER_OF = [0, 0, 1];

/** After the first part of a run, in which code gets hot and buffers reach their size, memory may grow by this much. */
const WARM_UP = 1 / 3;
const GROWTH = 1.15;
const FIGURES_EVERY_MS = 10_000;

/** Faults of a server. `part` returns a random number between two. */
const serverFaults = {
  async 'killed and started again'(server, part) {
    await server.kill();
    await sleep(part(0, 1500));
    await server.start();
  },
  async paused(server, part) {
    server.pause();
    await sleep(part(50, 2500));
    server.resume();
  },
  async 'connections killed'(server, part) {
    for (let times = part(1, 10); times > 0; times--) {
      await ask(server.port, 'CLIENT KILL TYPE normal SKIPME yes');
      await sleep(part(0, 100));
    }
  },
  async 'memory full'(server, part) {
    await ask(server.port, 'CONFIG SET maxmemory 1');
    await sleep(part(50, 500));
    await ask(server.port, 'CONFIG SET maxmemory 0');
  },
};

/** Faults of a network, until it is healed; some return what is to be done then. */
const networkFaults = {
  slow: (network, part) => network.delay({ request: part(1, 150), reply: part(1, 150) }),
  'slower than the deadline': (network, part) => network.delay({ request: part(900, 1500), reply: 0 }),
  'byte by byte': (network) => network.drip(),
  'replies cut': (network, part) => network.cutAfter(part(0, 4000)),
  'replies damaged'(network, part) {
    network.corrupt({ seed: part(0, 2 ** 31), oneIn: part(1000, 20_000) });
    // A damaged reply may promise more bytes than will arrive, and would be waited for.
    return () => network.reset();
  },
  silent: (network) => network.silence(),
  refusing: (network) => network.refuse(),
  'not listening': (network) => network.stopListening(),
  reset: (network) => network.reset(),
  'half-closed': (network) => network.halfClose(),
  'stalled, then delivering': (network) => network.stall(),
};

/**
 * @param {object} options
 * @param {string} options.node the Node binary of the process with the stores
 * @param {boolean} options.quick
 * @param {number} options.seed of the faults; how they meet the traffic depends on the machine
 * @returns true if everything held
 */
async function runChaos({ node, quick, seed }) {
  const plan = quick ? QUICK : FULL;
  console.log(
    `Chaos, seed ${seed}: at least ${format(plan.operations, 0)} operations and ${plan.ms / 1000} seconds\n`,
  );
  const world = await buildWorld();
  const child = startChild(require.resolve('./chaos-process.js'), [], { node, execArgv: ['--expose-gc'] });
  try {
    for (const { name, source, network } of STORES)
      await child.call('open', { name, source, url: world.networks[network].url, visitors: plan.visitors });
    const { injected, samples, violations, tookMs } = await injectFaults(world, child, plan, seed);
    const { violations: found, expected } = await child.call('stop');
    violations.push(...found, ...(await readBack(world, expected)), ...judgeSamples(samples));
    print({ injected, samples, expected, violations, tookMs });
    return violations.length === 0;
  } finally {
    await child.stop();
    for (const network of world.networks) await network.close();
    for (const server of world.servers) await server.stop();
  }
}

async function buildWorld() {
  const servers = [];
  for (let count = 0; count <= Math.max(...SERVER_OF); count++)
    servers.push(await startRedis({ args: DURABLE }));
  const networks = [];
  for (const server of SERVER_OF) networks.push(await startProxy(servers[server].port));
  return { servers, networks };
}

/** Rounds of one to three faults at once, after each of which operations must succeed again. */
async function injectFaults({ servers, networks }, child, plan, seed) {
  const random = seeded(seed);
  const part = (from, to) => Math.floor(from + random() * (to - from));
  const pick = (list) => list[part(0, list.length)];
  const injected = {};
  const samples = [];
  const violations = [];
  const begin = performance.now();
  const elapsed = () => performance.now() - begin;

  const inject = async (site) => {
    const isServer = servers.includes(site);
    const [kind, fault] = pick(Object.entries(isServer ? serverFaults : networkFaults));
    const what = `${isServer ? 'server' : 'network'} ${kind}`;
    injected[what] = (injected[what] ?? 0) + 1;
    if (isServer) return fault(site, part);
    const duration = part(20, 1500);
    const after = await fault(site, part);
    await sleep(duration);
    await site.heal();
    after?.();
  };

  for (;;) {
    const last = samples.at(-1);
    if (last === undefined || elapsed() - last.at > FIGURES_EVERY_MS) {
      samples.push({ at: elapsed(), ...(await child.call('figures')) });
      process.stderr.write(
        `${format(samples.at(-1).issued, 0)} operations, ${Math.round(elapsed() / 1000)} s\n`,
      );
    }
    if (samples.at(-1).issued >= plan.operations && samples.at(-1).at >= plan.ms) break;
    if (elapsed() > plan.limitMs) {
      violations.push(`only ${format(samples.at(-1).issued, 0)} operations within ${plan.limitMs / 1000} s`);
      break;
    }
    const sites = new Set(Array.from({ length: part(1, 4) }, () => pick([...servers, ...networks])));
    await Promise.all([...sites].map(inject));
    violations.push(...(await child.call('servedAgain')));
    await sleep(part(50, 600));
  }
  return { injected, samples, violations, tookMs: elapsed() };
}

/** Reads over a connection that shares no code with the stores what they report must be stored. */
async function readBack({ servers }, expected) {
  const violations = [];
  for (const { name, network } of STORES) {
    const raw = await connectRaw(servers[SERVER_OF[network]].port);
    for (const { key, versions } of expected[name]) {
      const text = await raw.command('GET', key);
      const version = text === null ? 0 : JSON.parse(text).version;
      if (!versions.includes(version))
        violations.push(`${key} is ${version} in Redis; possible were ${versions}`);
    }
    await raw.close();
  }
  return violations;
}

const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];

function judgeSamples(samples) {
  const warm = samples.slice(Math.ceil(samples.length * WARM_UP));
  if (warm.length < 4) return [];
  const violations = [];
  const half = Math.floor(warm.length / 2);
  for (const figure of ['rss', 'heapUsed']) {
    const [before, after] = [warm.slice(0, half), warm.slice(half)].map((part) =>
      median(part.map((one) => one[figure])),
    );
    if (after > GROWTH * before) violations.push(`${figure} grew from ${before} to ${after} bytes`);
  }
  const threads = warm.map((one) => one.threads);
  if (new Set(threads).size > 1) violations.push(`threads: ${threads}`);
  return violations;
}

function print({ injected, samples, expected, violations, tookMs }) {
  console.log(
    table(
      ['fault', 'times'],
      Object.entries(injected)
        .sort()
        .map(([kind, count]) => [kind, String(count)]),
    ),
  );
  console.log('');
  console.log(
    table(
      ['seconds', 'operations', 'RSS, MB', 'JavaScript heap, MB', 'threads'],
      samples.map(({ at, issued, rss, heapUsed, threads }) => [
        format(at / 1000, 0),
        format(issued, 0),
        format(rss / 1e6, 1),
        format(heapUsed / 1e6, 1),
        threads,
      ]),
    ),
  );
  const { issued, succeeded, failed, damaged, longest } = samples.at(-1);
  const failures = Object.entries(failed).map(([kind, count]) => `${format(count, 0)} ${kind}`);
  console.log(`
${format(issued, 0)} operations in ${format(tookMs / 1000, 0)} s; ${format(succeeded, 0)} succeeded, the longest took \
${format(longest, 0)} ms; failed: ${failures.join(', ') || 'none'}; values damaged by the network: ${format(damaged, 0)}
${format(Object.values(expected).flat().length, 0)} sessions read back by another connection
`);
  for (const violation of violations) console.log(`VIOLATED: ${violation}`);
  console.log(
    violations.length === 0
      ? 'Every callback came, once, in time; every reply reached its own session; every acknowledged write was there; ' +
          'memory and threads stayed.'
      : `${violations.length} violations`,
  );
}

module.exports = { runChaos };
