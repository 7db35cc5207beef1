'use strict';

// Measures what the near-cache is for: reads at the speed of memory, requests that wait for no network, and memory that
// stays within its bound.

const { performance } = require('node:perf_hooks');
const { startProxy } = require('../__test__/support/proxy.js');
const { connectRaw } = require('../__test__/support/redis.js');
const { startRedis } = require('../scripts/redis.js');
const { machine, page, writeChart } = require('./charts.js');
const { startChild } = require('./children.js');
const { rotated, summarise } = require('./rounds.js');

/** The measured operations, each with its stores. */
const PEERS = ['connect-redis10', 'connect-redis8'];
const READS = [
  { operation: 'get', inFlight: 128, names: ['near', 'memory', 'native', 'native, unattached', ...PEERS] },
  { operation: 'get', inFlight: 1, names: ['near', 'memory', 'native', ...PEERS] },
  { operation: 'load', inFlight: 16, names: ['near, touchAfter', 'memory'] },
  { operation: 'request', inFlight: 16, names: ['near, touchAfter', 'memory'] },
];
const APPS = ['near, touchAfter', 'native', ...PEERS, 'memory'];
/** The latency to the server, in ms; Node's timers support no less. */
const DELAY_MS = 1;
const VISITORS = 200;
// With a young generation of fixed size, what grows is not how V8 fits its heap to the load.
const MEMORY_FLAGS = ['--expose-gc', '--min-semi-space-size=16', '--max-semi-space-size=16'];
const MAX_BYTES = 64 * 1024 * 1024;

const FULL = { rounds: 5, ms: 1000, sessions: 1_000_000 };
const QUICK = { rounds: 2, ms: 300, sessions: 100_000 };

const microseconds = (value) => `${value.toFixed(1)} µs`;
const megabytes = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

async function measureCache({ node, quick, out }) {
  const plan = quick ? QUICK : FULL;
  const redis = await startRedis();
  try {
    await measureReads(plan, redis.url, node);
    const results = await measureRequests(plan, redis, node);
    if (out) writeChart(out, 'page', results, 'page', page);
    await measureMemory(plan, redis.url, node);
  } finally {
    await redis.stop();
  }
}

async function measureReads({ rounds, ms }, url, node) {
  const children = new Map();
  try {
    for (const name of new Set(READS.flatMap(({ names }) => names))) {
      const child = startChild(require.resolve('./store-process.js'), [name, url], { node });
      children.set(name, child);
      await child.call('prepare', ['0.4 KB']);
    }
    for (const { operation, inFlight, names } of READS) {
      const results = new Map(names.map((name) => [name, []]));
      for (let round = 0; round <= rounds; round++)
        for (const name of rotated(names, round)) {
          const task = { operation, kind: '0.4 KB', inFlight, ms };
          const result = await children.get(name).call('run', task);
          if (round > 0) results.get(name).push(result);
        }
      for (const name of names) {
        const { perSecond, thread, p50, p99 } = summarise(results.get(name));
        console.log(
          `${operation} × ${inFlight}, ${name}: ${Math.round(perSecond)} per second, ` +
            `event loop ${microseconds(thread)}, p50 ${microseconds(p50)}, p99 ${microseconds(p99)}`,
        );
      }
    }
    for (const child of children.values()) await child.call('close');
  } finally {
    for (const child of children.values()) await child.stop();
  }
}

async function measureRequests({ rounds, ms }, redis, node) {
  const proxy = await startProxy(redis.port);
  const raw = await connectRaw(redis.port);
  const visitors = startChild(require.resolve('./express-load.js'), [], { node });
  const apps = new Map();
  const commands = async () =>
    Number(/total_commands_processed:(\d+)/.exec(await raw.command('INFO', 'stats'))[1]);
  try {
    proxy.delay({ request: DELAY_MS });
    const distance = await roundTrip(proxy.port);
    console.log(`Express, Redis ${distance.toFixed(2)} ms away:`);
    for (const name of APPS) {
      const child = startChild(require.resolve('./express-server.js'), [name, proxy.url], { node });
      apps.set(name, { child, results: [], commands: 0, requests: 0 });
      const port = await child.call('listen');
      Object.assign(apps.get(name), {
        port,
        cookies: await visitors.call('signIn', { port, visitors: VISITORS }),
      });
    }
    for (let round = 0; round <= rounds; round++)
      for (const name of rotated(APPS, round)) {
        const app = apps.get(name);
        const before = await commands();
        const task = { port: app.port, cookies: app.cookies, connections: 2, ms };
        const result = await visitors.call('load', task);
        const sent = (await commands()) - before - 1;
        if (round === 0) continue;
        app.results.push(result);
        app.commands += sent;
        app.requests += result.requests;
      }
    const requests = [];
    for (const [name, app] of apps) {
      const { p50, p99, perSecond, spread } = summarise(app.results);
      requests.push({ store: name, p50, p99, spread, commands: app.commands / app.requests });
      console.log(
        `${name}: p50 ${microseconds(p50)}, p99 ${microseconds(p99)}, ${Math.round(perSecond)} requests per second, ` +
          `${(app.commands / app.requests).toFixed(3)} Redis commands per request`,
      );
      await app.child.call('close');
    }
    return { about: await machine(node, raw), distance, requests };
  } finally {
    for (const { child } of apps.values()) await child.stop();
    await visitors.stop();
    await raw.close();
    await proxy.close();
  }
}

/** Returns the median time of a command through the proxy. */
async function roundTrip(port) {
  const raw = await connectRaw(port);
  const times = [];
  for (let count = 0; count < 50; count++) {
    const start = performance.now();
    await raw.command('PING');
    times.push(performance.now() - start);
  }
  await raw.close();
  return times.sort((one, other) => one - other)[25];
}

async function measureMemory({ sessions }, url, node) {
  const half = sessions / 2;
  for (const which of ['off', String(MAX_BYTES)]) {
    const child = startChild(require.resolve('./cache-process.js'), [url, which], {
      node,
      execArgv: MEMORY_FLAGS,
    });
    try {
      const start = await child.call('churn', { from: 0, to: 1000 });
      const middle = await child.call('churn', { from: 1000, to: half });
      const end = await child.call('churn', { from: half, to: sessions });
      const name = which === 'off' ? 'without cache' : `maxBytes ${megabytes(MAX_BYTES)}`;
      console.log(
        `${sessions} sessions saved, ${name}: memory of the process ${megabytes(start.rss)} at 1000 sessions, ` +
          `${megabytes(middle.rss)} halfway, ${megabytes(end.rss)} at the end` +
          (end.stats === null
            ? ''
            : `; ${end.stats.entries} sessions kept, ${megabytes(end.stats.bytes)}, ${end.stats.evictions} evicted`),
      );
      await child.call('close');
    } finally {
      await child.stop();
    }
  }
}

module.exports = { measureCache };
