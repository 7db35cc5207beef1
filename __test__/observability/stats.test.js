'use strict';

const { inspect } = require('node:util');
const { RedisStore } = require('../..');
const { startCluster } = require('../support/cluster.js');
const { hit } = require('../support/hits.js');
const { askOnce, startRedis, useRedis } = require('../support/redis.js');
const { startSentinel } = require('../support/sentinel.js');
const { closeAll, keepStore, openClient, openStore, served } = require('../support/stores.js');
const { HANG_MS, until } = require('../support/until.js');
const { recordTraces } = require('./traces.js');

const redis = useRedis();
const cleanUps = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0)) await cleanUp();
  await closeAll();
});

const session = { cookie: {}, user: 1 };

/** Opens a store that `closeAll` closes, on the Redis of this suite. */
const open = {
  native: (options) => openStore('url', redis.port, options),
  client: async (options) => {
    const client = await openClient('redis6', redis.port);
    return keepStore(new RedisStore({ client, transport: 'client', commandTimeout: HANG_MS, ...options }));
  },
};
const transports = Object.keys(open);

const sumOf = (numbers) => numbers.reduce((sum, number) => sum + number, 0);

/** Returns the number of each operation that has completed. */
const countsOf = ({ operations }) =>
  Object.fromEntries(Object.entries(operations).map(([name, { count }]) => [name, count]));

async function iterate(store) {
  for await (const { id } of store.scan()) expect(typeof id).toBe('string');
}

/** Runs each method once, `get` twice. */
async function runAll(store) {
  await store.set('a', session);
  await store.get('a');
  await store.get('missing');
  await store.touch('a', session);
  await store.all();
  await store.ids();
  await store.length();
  await iterate(store);
  await store.destroy('a');
  await store.clear();
}

const ONE_OF_EACH = {
  get: 2,
  set: 1,
  touch: 1,
  destroy: 1,
  all: 1,
  ids: 1,
  length: 1,
  clear: 1,
  scan: 1,
};

describe.each(transports)('stats with transport: %s', (transport) => {
  test('each operation is counted once, and once in its histogram', async () => {
    const store = await open[transport]();
    await runAll(store);
    const stats = store.stats();
    expect(countsOf(stats)).toEqual(ONE_OF_EACH);
    for (const { count, failed, latency } of Object.values(stats.operations)) {
      expect(failed).toBe(0);
      expect(latency.bounds[0]).toBe(50e-6);
      expect(latency.bounds.at(-1)).toBe(10);
      expect(latency.counts).toHaveLength(latency.bounds.length + 1);
      expect(sumOf(latency.counts)).toBe(count);
      expect(latency.sum).toBeGreaterThan(0);
    }
    expect(stats).toMatchObject({ errors: {}, reconnects: 0, queued: 0, inFlight: 0, cache: null });
    expect(stats).toMatchObject({ status: 'ready', transport, discarded: 0, conflicts: 0 });
    expect(stats.server).toMatchObject({ address: '127.0.0.1', port: redis.port, database: 0 });
  });

  test('many pages of `all` and `ids` are one operation', async () => {
    const store = await open[transport]({ scanCount: 10 });
    await Promise.all(Array.from({ length: 400 }, (_, n) => store.set(`id${n}`, session)));
    await store.all();
    await store.ids();
    await iterate(store);
    const { all, ids, scan } = store.stats().operations;
    expect([all.count, ids.count]).toEqual([1, 1]);
    expect([sumOf(all.latency.counts), sumOf(ids.latency.counts)]).toEqual([1, 1]);
    // Each page counts: the app's loop runs between them.
    expect(scan.count).toBeGreaterThan(1);
  });

  test('failures are counted by operation and code, wherever they occur', async () => {
    const store = await open[transport]();
    await redis.command('SET', 'sess:corrupt', 'not JSON');
    await redis.command('LPUSH', 'sess:list', 'x');
    const circular = { cookie: {} };
    circular.self = circular;
    const failing = [
      store.get('corrupt'),
      store.get('list'),
      store.get({}),
      store.set('a', circular),
      store.touch('a', null),
    ];
    const codes = (await Promise.allSettled(failing)).map(({ reason }) => reason.code ?? 'OTHER');
    await store.close();
    await expect(store.length()).rejects.toMatchObject({ code: 'ERR_STORE_CLOSED' });
    const { errors, operations } = store.stats();
    const expected = {};
    for (const code of [...codes, 'ERR_STORE_CLOSED']) expected[code] = (expected[code] ?? 0) + 1;
    expect(errors).toEqual(expected);
    expect(errors.ERR_SESSION_CORRUPT).toBe(1);
    expect(operations.get).toMatchObject({ count: 3, failed: 3 });
    expect(operations.set).toMatchObject({ count: 1, failed: 1 });
    expect(operations.touch).toMatchObject({ count: 1, failed: 1 });
    expect(operations.length).toMatchObject({ count: 1, failed: 1 });
    // Only the first two reached Redis.
    expect(sumOf(operations.get.latency.counts)).toBe(2);
  });

  test('discarded saves, conflicts and touches that send nothing are counted', async () => {
    const store = await open[transport]({ onConflict: 'reject' });
    const mine = { ...session };
    await store.set('a', mine);
    await redis.command('SET', 'sess:a', JSON.stringify({ ...session, user: 2 }));
    mine.user = 3;
    await expect(store.set('a', mine)).rejects.toMatchObject({ code: 'ERR_SESSION_CONFLICT' });
    const { operations, conflicts, errors } = store.stats();
    expect(operations.set).toMatchObject({ count: 2, failed: 1 });
    expect([conflicts, errors]).toEqual([1, { ERR_SESSION_CONFLICT: 1 }]);

    const lazy = await open[transport]({ disableTouch: true });
    await lazy.touch('a', session);
    expect(lazy.stats().operations.touch).toMatchObject({ count: 1, failed: 0 });
    expect(sumOf(lazy.stats().operations.touch.latency.counts)).toBe(0);
  });

  test('a lost connection is counted when it is replaced', async () => {
    const store = await open[transport]();
    await store.set('a', session);
    await redis.command('CLIENT', 'KILL', 'SKIPME', 'yes', 'TYPE', 'normal');
    await served(store);
    await until(() => store.stats().reconnects >= 1);
    expect(store.stats().operations.set.count).toBe(1);
  });

  test('operations wait in the queue while Redis is stopped', async () => {
    const server = await startRedis();
    cleanUps.push(() => server.stop());
    const store = await (transport === 'native'
      ? openStore('url', server.port)
      : openClient('redis6', server.port).then((client) =>
          keepStore(new RedisStore({ client, transport: 'client', commandTimeout: HANG_MS })),
        ));
    await store.set('a', session);
    await server.stop();
    await until(() => store.stats().status === 'reconnecting');
    const pending = [store.get('a'), store.get('b'), store.set('c', session)];
    const settled = Promise.allSettled(pending);
    await until(() => store.stats().queued === 3);
    expect(store.stats().inFlight).toBe(0);
    await store.close();
    await settled;
    expect(store.stats()).toMatchObject({ queued: 0, inFlight: 0, status: 'closed' });
  });

  test('the statistics survive `close`, and a client that is closed and opened again', async () => {
    const client = await openClient('redis6', redis.port);
    const store = keepStore(new RedisStore({ client, transport, commandTimeout: HANG_MS }));
    await store.set('a', session);
    const before = store.stats();
    await client.close();
    await until(() => store.stats().status === 'closed');
    await client.connect();
    await store.get('a');
    const after = store.stats();
    expect(after.operations.set.count).toBe(1);
    expect(after.operations.get.count).toBe(1);
    if (transport === 'native') expect(after.bytes.read).toBeGreaterThan(before.bytes.read);
    await store.close();
    expect(countsOf(store.stats())).toEqual(countsOf(after));
  });

  test('`util.inspect` shows status, server without password, transport and prefix', async () => {
    const store = await open[transport]({ prefix: 'shop:' });
    await served(store);
    const text = inspect(store);
    expect(text).toContain("status: 'ready'");
    expect(text).toContain(`transport: '${transport}'`);
    expect(text).toContain("prefix: 'shop:'");
    expect(text).toContain(transport === 'native' ? `redis://127.0.0.1:${redis.port}` : 'redis client');
  });
});

describe('stats of a native connection', () => {
  test('bytes, version and features are those of the connection', async () => {
    const store = await open.native({ cache: true, onConflict: 'reject' });
    await store.set('a', { ...session, text: 'x'.repeat(10_000) });
    await store.get('a');
    const { bytes, server } = store.stats();
    expect(bytes.written).toBeGreaterThan(10_000);
    expect(bytes.read).toBeGreaterThan(10_000);
    const info = String(await redis.command('INFO', 'server'));
    const [, version] = /^(?:valkey_version|redis_version):(\S+)/m.exec(info);
    expect(server).toMatchObject({ version, name: expect.stringMatching(/^(redis|valkey)$/) });
    expect(server.features).toEqual(expect.arrayContaining(['RESP3', 'client-tracking']));
    const methods = server.features.filter((feature) => ['set-ifeq', 'script'].includes(feature));
    expect(methods).toHaveLength(1);
  });

  test('`inspect` shows no password', async () => {
    const store = keepStore(new RedisStore({ url: `redis://ann:hunter2@127.0.0.1:${redis.port}` }));
    store.on('error', () => {});
    expect(inspect(store)).not.toContain('hunter2');
    expect(inspect(store)).not.toContain('ann');
    expect(JSON.stringify(store.stats())).not.toContain('hunter2');
  });

  test('a cache hit counts without a latency, and `cacheStats` is part of the statistics', async () => {
    const store = await open.native({ cache: true });
    await store.set('a', session);
    await hit(store, 'a');
    const { operations, cache } = store.stats();
    expect(operations.get.count - sumOf(operations.get.latency.counts)).toBeGreaterThan(0);
    expect(cache).toEqual(store.cacheStats());
  });

  test('reads that share a command are counted each', async () => {
    const store = await open.native();
    await store.set('a', session);
    await Promise.all(Array.from({ length: 10 }, () => store.get('a')));
    const { count, latency } = store.stats().operations.get;
    expect([count, sumOf(latency.counts)]).toEqual([10, 10]);
  });

  test('a timeout is one failure', async () => {
    const store = await open.native({ commandTimeout: 200 });
    await store.get('a');
    process.kill(redis.server.pid, 'SIGSTOP');
    try {
      await expect(store.get('a')).rejects.toMatchObject({ code: 'ERR_REDIS_TIMEOUT' });
    } finally {
      process.kill(redis.server.pid, 'SIGCONT');
    }
    const { errors, operations } = store.stats();
    expect([errors, operations.get.failed]).toEqual([{ ERR_REDIS_TIMEOUT: 1 }, 1]);
  });
});

describe('the server that a trace names', () => {
  /** Records the contexts of operations that have ended. */
  function record() {
    const traces = recordTraces();
    cleanUps.push(() => traces.stop());
    return (operation) => traces.ended.filter((context) => context.operation === operation);
  }

  test('is the standalone server; a command that was sent again has two attempts', async () => {
    const store = await open.native();
    const ended = record();
    await store.set('a', session);
    expect(ended('set')).toMatchObject([{ serverAddress: '127.0.0.1', serverPort: redis.port, attempts: 1 }]);
    await redis.command('CLIENT', 'PAUSE', '60000', 'WRITE');
    const touched = store.touch('a', session);
    await until(() => store.stats().inFlight === 1);
    await redis.command('CLIENT', 'KILL', 'SKIPME', 'yes', 'TYPE', 'normal');
    await redis.command('CLIENT', 'UNPAUSE');
    await touched;
    expect(ended('touch')).toMatchObject([{ serverPort: redis.port, attempts: 2 }]);
  });

  test('is that of each step of a conditional save, and of pages', async () => {
    const store = await open.native({ onConflict: 'merge' });
    const mine = { ...session };
    await store.set('a', mine);
    await redis.command('SET', 'sess:a', JSON.stringify({ ...session, other: 2 }));
    const ended = record();
    mine.mine = 3;
    await store.set('a', mine);
    const [{ attempts, serverPort }] = ended('set');
    expect(serverPort).toBe(redis.port);
    // The compare-and-set that found the conflict, and the one that stored the merged session.
    expect(attempts).toBeGreaterThanOrEqual(2);
    await store.all();
    await store.length();
    for (const name of ['all', 'length'])
      expect(ended(name)).toMatchObject([{ serverPort: redis.port, attempts: 1 }]);
  });

  test('is marked where a read shared the command of another one', async () => {
    const store = await open.native();
    const ended = record();
    await Promise.all([store.get('a'), store.get('a')]);
    const caches = ended('get').map(({ cache, attempts }) => [cache, attempts]);
    expect(caches).toEqual(
      expect.arrayContaining([
        [undefined, 1],
        ['shared', 1],
      ]),
    );
  });

  test('is the primary behind sentinels', async () => {
    const sentinel = await startSentinel();
    cleanUps.push(() => sentinel.stop());
    const store = keepStore(
      new RedisStore({
        sentinel: { name: sentinel.name, addresses: sentinel.addresses },
        commandTimeout: HANG_MS,
      }),
    );
    const ended = record();
    await store.set('a', session);
    const { server } = store.stats();
    const [context] = ended('set');
    expect([context.serverAddress, context.serverPort]).toEqual([server.address, server.port]);
    expect(String(await askOnce({ port: server.port }, 'ROLE'))).toMatch(/^master/);
  });

  test('is the node of a cluster; statistics are sums of the nodes', async () => {
    const cluster = await startCluster({ replicas: 0 });
    cleanUps.push(() => cluster.stop());
    const store = keepStore(
      new RedisStore({ cluster: { addresses: cluster.addresses }, commandTimeout: HANG_MS }),
    );
    await served(store);
    const ended = record();
    const ids = Array.from({ length: 30 }, (_, n) => `id${n}`);
    await Promise.all(ids.map((id) => store.set(id, { ...session, text: 'x'.repeat(1000) })));
    const ports = new Set(ended('set').map(({ serverPort }) => serverPort));
    expect(ports.size).toBe(3);
    for (const port of ports) expect(Number(await askOnce({ port }, 'DBSIZE'))).toBeGreaterThan(0);
    expect(ended('set').every(({ attempts }) => attempts === 1)).toBe(true);
    await store.all();
    const { bytes, operations, reconnects, server } = store.stats();
    expect(operations.set).toMatchObject({ count: 30, failed: 0 });
    expect(sumOf(operations.set.latency.counts)).toBe(30);
    expect(bytes.written).toBeGreaterThan(30_000);
    expect(bytes.read).toBeGreaterThan(30_000);
    expect(reconnects).toBe(0);
    expect(server.address).toBeUndefined();
    expect(server.features).toContain('RESP3');
  });
});
