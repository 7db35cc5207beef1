'use strict';

const { setTimeout: delay } = require('node:timers/promises');
const { RedisStore } = require('../..');
const { askOnce, startRedis, useRedis } = require('../support/redis.js');
const { hit, staysCached } = require('../support/hits.js');
const { liveSession } = require('../support/sessions.js');
const { closeAll, keepStore, openStore } = require('../support/stores.js');
const { startCluster } = require('../support/cluster.js');
const { describeServers } = require('../support/servers.js');
const { startProxy } = require('../support/proxy.js');
const { HANG_MS, until } = require('../support/until.js');

const numbered = (n) => liveSession('abc', { n });

afterEach(closeAll);

describe('a server that does not answer', () => {
  const redis = useRedis();
  let proxy;
  beforeEach(async () => {
    proxy = await startProxy(redis.port);
  });
  afterEach(async () => {
    await closeAll();
    await proxy.close();
  });

  const open = (cache) => {
    const store = keepStore(new RedisStore({ url: proxy.url, cache, commandTimeout: HANG_MS }));
    store.on('error', () => {});
    return store;
  };

  test('a cached session is not returned for longer than maxStaleness when the server does not answer', async () => {
    const store = open({ maxStaleness: 300 });
    await store.set('abc', numbered(1));
    await until(() => hit(store, 'abc') === 1);
    proxy.silence();
    const since = Date.now();
    await redis.command('SET', 'sess:abc', JSON.stringify(numbered(2)));
    let last;
    let isHit = true;
    while (isHit) {
      const now = Date.now();
      isHit = hit(store, 'abc') === 1;
      if (isHit) last = now;
      await delay(5);
    }
    // The last cache hit began by then.
    expect((last ?? since) - since).toBeLessThanOrEqual(310);
    expect(store.cacheStats().distrusted).toBeGreaterThan(0);
  });

  test('a cached session is not returned when replies are later than maxStaleness', async () => {
    const store = open({ maxStaleness: 200 });
    await store.set('abc', numbered(1));
    await until(() => hit(store, 'abc') === 1);
    proxy.delay({ reply: 400 });
    // Replies keep arriving, each of them older than maxStaleness.
    await until(() => hit(store, 'abc') === 'later');
    for (let n = 0; n < 5; n++) {
      await store.get('abc');
      expect(hit(store, 'abc')).toBe('later');
    }
  });

  test('cached sessions stay fresh by heartbeats while the app reads', async () => {
    const store = open({ maxStaleness: 200 });
    await store.set('abc', numbered(1));
    await until(() => hit(store, 'abc') === 1);
    await staysCached(store, 'abc', 1000);
  });
});

describe('a server without client tracking', () => {
  const nextError = (store) => new Promise((resolve) => store.once('error', resolve));

  test.each([
    ['it has no HELLO', ['--rename-command', 'HELLO', ''], /does not support RESP3/],
    [
      'CLIENT TRACKING is forbidden',
      // Redis 6.2 cannot revoke a subcommand.
      ['--user', 'default', 'on', 'nopass', '~*', '+@all', '-client', '+client|setname', '+client|kill'],
      /NOPERM/,
    ],
  ])('the store works without a cache and emits ERR_CACHE_OFF when %s', async (_why, args, cause) => {
    const server = await startRedis({ args });
    try {
      const store = await openStore('url', server.port, { cache: true });
      store.on('error', () => {});
      expect(await nextError(store)).toMatchObject({
        code: 'ERR_CACHE_OFF',
        message: expect.stringMatching(cause),
      });
      await store.set('abc', numbered(1));
      expect((await store.get('abc')).n).toBe(1);
      expect(hit(store, 'abc')).toBe('later');
      expect(store.cacheStats().entries).toBe(0);
      // A store that shares the connection emits it, too.
      const second = await openStore('url', server.port, { cache: true });
      expect(await nextError(second)).toMatchObject({ code: 'ERR_CACHE_OFF' });
      const again = nextError(second);
      await askOnce(server, 'CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
      expect(await again).toMatchObject({ code: 'ERR_CACHE_OFF' });
    } finally {
      await closeAll();
      await server.stop();
    }
  });
});

describe('a cache in front of a cluster', () => {
  const ids = Array.from({ length: 30 }, (_, n) => `s${n}`);
  let cluster;
  let url;
  beforeAll(async () => {
    cluster = await startCluster({ primaries: 3, replicas: 1 });
    url = `redis+cluster://127.0.0.1:${cluster.addresses[0].port}`;
  });
  afterAll(() => cluster?.stop());

  /** Opens a store that has cached all the sessions, each with the same number. */
  async function openWarm(plain, n) {
    const store = keepStore(new RedisStore({ url, cache: { maxStaleness: 500 } }));
    store.on('error', () => {});
    await Promise.all(ids.map((id) => plain.set(id, numbered(n))));
    await until(async () => {
      await Promise.all(ids.map((id) => store.get(id)));
      return ids.every((id) => hit(store, id) === n);
    });
    return store;
  }

  const openPlain = () => {
    const store = keepStore(new RedisStore({ url }));
    store.on('error', () => {});
    return store;
  };

  test('changes on every node of a cluster invalidate cached sessions', async () => {
    const plain = openPlain();
    const store = await openWarm(plain, 1);
    await Promise.all(ids.map((id) => plain.set(id, numbered(2))));
    await until(() => ids.every((id) => hit(store, id) !== 1));
    expect((await Promise.all(ids.map((id) => store.get(id)))).every(({ n }) => n === 2)).toBe(true);
  });

  test('cached sessions of a cluster stay fresh when the app reads from one node only', async () => {
    const store = await openWarm(openPlain(), 1);
    await staysCached(store, 's0', 2000);
  });

  test('cached sessions of a cluster are fresh again after the first read that follows a pause', async () => {
    const store = await openWarm(openPlain(), 1);
    // Heartbeats continue for ten seconds after the last read.
    await delay(11_000);
    await store.get('s0');
    await staysCached(store, 's0', 1000);
  });

  test('no stale session is returned from the cache after its slot has moved', async () => {
    const plain = openPlain();
    const store = await openWarm(plain, 1);
    const slot = await cluster.slotOf('sess:s0');
    const owner = await cluster.ownerOf(slot);
    const other = (await cluster.primaries()).find((node) => node !== owner);
    await cluster.moveSlots([slot], other);
    await cluster.command('sess:s0', 'SET', 'sess:s0', JSON.stringify(numbered(2)));
    await until(() => hit(store, 's0') !== 1);
    expect((await store.get('s0')).n).toBe(2);
    await until(async () => {
      await store.get('s0');
      return hit(store, 's0') === 2;
    });
    await cluster.command('sess:s0', 'SET', 'sess:s0', JSON.stringify(numbered(3)));
    await until(() => hit(store, 's0') !== 2);
    expect((await store.get('s0')).n).toBe(3);
  });

  test('cached sessions stay cached when a replica joins the cluster', async () => {
    const store = await openWarm(openPlain(), 1);
    const names = async ({ port }) => (await askOnce({ port }, 'CLUSTER', 'SLOTS')).flat().length;
    const before = await Promise.all(cluster.nodes.map(names));
    const known = [...cluster.nodes];
    await cluster.addReplica((await cluster.primaries())[0]);
    await until(async () => {
      const after = await Promise.all(known.map(names));
      return after.every((count, n) => count > before[n]);
    });
    // A scan refreshes the topology.
    expect(await store.length()).toBe(ids.length);
    const earlier = store.cacheStats();
    for (const id of ids) await store.get(id);
    const later = store.cacheStats();
    // On a busy machine, a node may have been silent for so long that its sessions are read again.
    expect(later.misses - earlier.misses).toBe(later.distrusted - earlier.distrusted);
  });

  test('no stale session is returned from the cache after a primary became a replica or died', async () => {
    const plain = openPlain();
    const store = await openWarm(plain, 1);
    const slot = await cluster.slotOf('sess:s0');
    const owner = await cluster.ownerOf(slot);
    const primaries = await cluster.primaries();
    for (const node of cluster.nodes.filter((one) => !primaries.includes(one)))
      if ((await askOnce(node, 'ROLE'))[2] === owner.port) await askOnce(node, 'CLUSTER', 'FAILOVER');
    await until(async () => ![owner, undefined].includes(await cluster.ownerOf(slot)));
    await until(async () => {
      const reply = await cluster
        .command('sess:s0', 'SET', 'sess:s0', JSON.stringify(numbered(2)))
        .catch(String);
      return reply === 'OK';
    });
    await until(() => hit(store, 's0') !== 1);
    await until(async () => (await store.get('s0').catch(() => null))?.n === 2);

    await until(async () => {
      await store.get('s0');
      return hit(store, 's0') === 2;
    });
    await cluster.failOver(await cluster.ownerOf(slot));
    await cluster.command('sess:s0', 'SET', 'sess:s0', JSON.stringify(numbered(3)));
    await until(() => hit(store, 's0') !== 2);
    await until(async () => (await store.get('s0').catch(() => null))?.n === 3);
  });

  test("the constructor rejects a cache with readFrom: 'replica-preferred'", () => {
    expect(() => new RedisStore({ url, cache: true, readFrom: 'replica-preferred' })).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_ARG_VALUE', message: expect.stringMatching(/replica/) }),
    );
  });
});

// Redis has no command that isolates a node from the others.
describeServers('%s', (name, program) => {
  if (!name.startsWith('Valkey')) return;
  let cluster;
  afterEach(() => cluster?.stop());

  test('a cached session is not returned for longer than maxStaleness when its primary is isolated from the others', async () => {
    cluster = await startCluster({ program, args: ['--enable-debug-command', 'yes'] });
    const owner = await cluster.ownerOf(await cluster.slotOf('sess:s0'));
    const url = `redis+cluster://127.0.0.1:${owner.port}`;
    const store = keepStore(new RedisStore({ url, cache: { maxStaleness: 500 } }));
    store.on('error', () => {});
    await store.set('s0', numbered(1));
    await until(() => hit(store, 's0') === 1);
    // The topology refresh of the opening is over: none happens meanwhile.
    await staysCached(store, 's0', 1000);

    const roles = await Promise.all(cluster.nodes.map((node) => askOnce(node, 'ROLE')));
    const successor = cluster.nodes[roles.findIndex(([, , port]) => port === owner.port)];
    await askOnce(owner, 'DEBUG', 'DROP-CLUSTER-PACKET-FILTER', '-2');
    await askOnce(successor, 'CLUSTER', 'FAILOVER', 'TAKEOVER');
    await until(async () => String((await askOnce(successor, 'ROLE'))[0]) === 'master');
    await askOnce(successor, 'SET', 'sess:s0', JSON.stringify(numbered(2)));

    // One second after it lost the others, it serves no one, but still reports that it is a primary.
    await until(() => hit(store, 's0') !== 1);
    expect(String((await askOnce(owner, 'ROLE'))[0])).toBe('master');
    await until(async () => (await store.get('s0').catch(() => null))?.n === 2);
  });
});

describe('option `cache`', () => {
  test.each([
    ['a string', 'yes', 'ERR_INVALID_ARG_TYPE', /"cache"/],
    ['an unknown field', { maxAge: 1 }, 'ERR_INVALID_ARG_VALUE', /"cache.maxAge".*maxBytes/],
    ['maxBytes that is not a number', { maxBytes: 'all' }, 'ERR_INVALID_ARG_TYPE', /"cache.maxBytes"/],
    ['maxBytes of 0', { maxBytes: 0 }, 'ERR_OUT_OF_RANGE', /"cache.maxBytes"/],
    ['maxEntries of 0.5', { maxEntries: 0.5 }, 'ERR_OUT_OF_RANGE', /"cache.maxEntries"/],
    ['maxStaleness below 1', { maxStaleness: 0 }, 'ERR_OUT_OF_RANGE', /"cache.maxStaleness"/],
  ])('the constructor rejects the cache option with %s', (_what, cache, code, message) => {
    expect(() => new RedisStore({ cache })).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    );
  });

  test('maxEntries bounds the cache', async () => {
    const server = await startRedis();
    try {
      const store = await openStore('url', server.port, { cache: { maxEntries: 10 } });
      for (let n = 0; n < 50; n++) await store.set(`s${n}`, numbered(n));
      await store.get('s0');
      expect(store.cacheStats()).toMatchObject({ entries: 10 });
      expect(store.cacheStats().evictions).toBeGreaterThan(30);
    } finally {
      await closeAll();
      await server.stop();
    }
  });

  test('a cache with maxEntries of 1 holds one session, and cacheStats reports its size', async () => {
    const server = await startRedis();
    try {
      const store = await openStore('url', server.port, { cache: { maxEntries: 1 } });
      for (const id of ['one', 'two', 'one']) {
        await store.set(id, numbered(1));
        await until(async () => {
          await store.get(id);
          return hit(store, id) !== 'later';
        });
        const { entries, bytes } = store.cacheStats();
        expect(entries).toBe(1);
        expect(bytes).toBeLessThan(1000);
      }
    } finally {
      await closeAll();
      await server.stop();
    }
  });
});
