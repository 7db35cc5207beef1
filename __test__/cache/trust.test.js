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

describe('a server that is not heard', () => {
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

  test('is not trusted for longer than maxStaleness', async () => {
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
    // The last read that was served began by then.
    expect((last ?? since) - since).toBeLessThanOrEqual(310);
    expect(store.cacheStats().distrusted).toBeGreaterThan(0);
  });

  test('is not taken for near when its answers come late', async () => {
    const store = open({ maxStaleness: 200 });
    await store.set('abc', numbered(1));
    await until(() => hit(store, 'abc') === 1);
    proxy.delay({ reply: 400 });
    // Answers keep coming, each of them older than that.
    await until(() => hit(store, 'abc') === 'later');
    for (let n = 0; n < 5; n++) {
      await store.get('abc');
      expect(hit(store, 'abc')).toBe('later');
    }
  });

  test('is asked for signs of life, and so kept near, while somebody reads', async () => {
    const store = open({ maxStaleness: 200 });
    await store.set('abc', numbered(1));
    await until(() => hit(store, 'abc') === 1);
    await staysCached(store, 'abc', 1000);
  });
});

describe('where the server cannot tell of changes', () => {
  const nextError = (store) => new Promise((resolve) => store.once('error', resolve));

  test.each([
    ['it has no HELLO', ['--rename-command', 'HELLO', ''], /no RESP3/],
    [
      'CLIENT TRACKING is forbidden',
      // Redis 6.2 cannot take a subcommand away.
      ['--user', 'default', 'on', 'nopass', '~*', '+@all', '-client', '+client|setname', '+client|kill'],
      /NOPERM/,
    ],
  ])('%s: the store works without a cache, and says so', async (_why, args, cause) => {
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
      // One that shares the connection is told, too.
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

describe('in a cluster', () => {
  const ids = Array.from({ length: 30 }, (_, n) => `s${n}`);
  let cluster;
  let url;
  beforeAll(async () => {
    cluster = await startCluster({ primaries: 3, replicas: 1 });
    url = `redis+cluster://127.0.0.1:${cluster.addresses[0].port}`;
  });
  afterAll(() => cluster?.stop());

  /** A store that has all the sessions near, each with the same number. */
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

  test('every node tells of changes', async () => {
    const plain = openPlain();
    const store = await openWarm(plain, 1);
    await Promise.all(ids.map((id) => plain.set(id, numbered(2))));
    await until(() => ids.every((id) => hit(store, id) !== 1));
    expect((await Promise.all(ids.map((id) => store.get(id)))).every(({ n }) => n === 2)).toBe(true);
  });

  test('nodes that nobody reads from are asked for signs of life, too', async () => {
    const store = await openWarm(openPlain(), 1);
    await staysCached(store, 's0', 2000);
  });

  test('after a while without reads, all nodes are asked again at the first one', async () => {
    const store = await openWarm(openPlain(), 1);
    // For ten seconds after the last read, signs of life are still asked for.
    await delay(11_000);
    await store.get('s0');
    await staysCached(store, 's0', 1000);
  });

  test('a slot that moves takes nothing old with it', async () => {
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

  test('a replica that joins takes nothing away', async () => {
    const store = await openWarm(openPlain(), 1);
    const names = async ({ port }) => (await askOnce({ port }, 'CLUSTER', 'SLOTS')).flat().length;
    const before = await Promise.all(cluster.nodes.map(names));
    const known = [...cluster.nodes];
    await cluster.addReplica((await cluster.primaries())[0]);
    await until(async () => {
      const after = await Promise.all(known.map(names));
      return after.every((count, n) => count > before[n]);
    });
    // A walk asks for the slots.
    expect(await store.length()).toBe(ids.length);
    const earlier = store.cacheStats();
    for (const id of ids) await store.get(id);
    const later = store.cacheStats();
    // On a busy machine, a node may not have been heard from for so long that its sessions are read again.
    expect(later.misses - earlier.misses).toBe(later.distrusted - earlier.distrusted);
  });

  test('a primary that is made a replica, or dies, leaves nothing old behind', async () => {
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

  test("is refused beside a cluster's replicas", () => {
    expect(() => new RedisStore({ url, cache: true, readFrom: 'replica-preferred' })).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_ARG_VALUE', message: expect.stringMatching(/replica/) }),
    );
  });
});

// Redis has no means to have a node hear no others.
describeServers('%s', (name, program) => {
  if (!name.startsWith('Valkey')) return;
  let cluster;
  afterEach(() => cluster?.stop());

  test('a primary that is cut off from the others is not trusted for longer than it serves', async () => {
    cluster = await startCluster({ program, args: ['--enable-debug-command', 'yes'] });
    const owner = await cluster.ownerOf(await cluster.slotOf('sess:s0'));
    const url = `redis+cluster://127.0.0.1:${owner.port}`;
    const store = keepStore(new RedisStore({ url, cache: { maxStaleness: 500 } }));
    store.on('error', () => {});
    await store.set('s0', numbered(1));
    await until(() => hit(store, 's0') === 1);
    // What came about when it was opened is over: nobody asks for the slots meanwhile.
    await staysCached(store, 's0', 1000);

    const roles = await Promise.all(cluster.nodes.map((node) => askOnce(node, 'ROLE')));
    const heir = cluster.nodes[roles.findIndex(([, , port]) => port === owner.port)];
    await askOnce(owner, 'DEBUG', 'DROP-CLUSTER-PACKET-FILTER', '-2');
    await askOnce(heir, 'CLUSTER', 'FAILOVER', 'TAKEOVER');
    await until(async () => String((await askOnce(heir, 'ROLE'))[0]) === 'master');
    await askOnce(heir, 'SET', 'sess:s0', JSON.stringify(numbered(2)));

    // A second after it lost the others, it serves nobody any more, and says that it is a primary all the same.
    await until(() => hit(store, 's0') !== 1);
    expect(String((await askOnce(owner, 'ROLE'))[0])).toBe('master');
    await until(async () => (await store.get('s0').catch(() => null))?.n === 2);
  });
});

describe('the option', () => {
  test.each([
    ['a string', 'yes', 'ERR_INVALID_ARG_TYPE', /"cache"/],
    ['a field that there is not', { maxAge: 1 }, 'ERR_INVALID_ARG_VALUE', /"cache.maxAge".*maxBytes/],
    ['maxBytes of no number', { maxBytes: 'all' }, 'ERR_INVALID_ARG_TYPE', /"cache.maxBytes"/],
    ['maxBytes of 0', { maxBytes: 0 }, 'ERR_OUT_OF_RANGE', /"cache.maxBytes"/],
    ['maxEntries of a half', { maxEntries: 0.5 }, 'ERR_OUT_OF_RANGE', /"cache.maxEntries"/],
    ['maxStaleness below 1', { maxStaleness: 0 }, 'ERR_OUT_OF_RANGE', /"cache.maxStaleness"/],
  ])('%s is refused', (_what, cache, code, message) => {
    expect(() => new RedisStore({ cache })).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    );
  });

  test('bounds what is kept', async () => {
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

  test('of one session keeps one, and says what it takes', async () => {
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
