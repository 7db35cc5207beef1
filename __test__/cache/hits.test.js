'use strict';

const { RedisStore } = require('../..');
const { hit } = require('../support/hits.js');
const { HOUR, liveSession, shopVisitor } = require('../support/sessions.js');
const { closeAll, keepStore, openStore } = require('../support/stores.js');
const { describeServers } = require('../support/servers.js');
const { until } = require('../support/until.js');
const { useRedis } = require('../support/redis.js');

afterEach(closeAll);

const numbered = (n, cookie) => liveSession('abc', { n }, cookie);

describeServers('%s', (_name, program) => {
  const redis = useRedis({ program });
  const open = (options) => openStore('url', redis.port, { cache: true, ...options });
  const openPlain = (options) => openStore('url', redis.port, options);

  /** Reads until the session is cached. */
  async function warm(store, id = 'abc') {
    await until(async () => {
      await store.get(id);
      return hit(store, id) !== 'later';
    });
  }

  test('a cache hit is returned in the same tick, as a new object each time', async () => {
    const store = await open();
    const plain = await openPlain();
    await plain.set('abc', liveSession('abc', { n: 1, ...shopVisitor() }));
    expect(hit(store, 'abc')).toBe('later');
    await warm(store);
    expect(hit(store, 'abc')).toBe(1);
    const [one, other] = await Promise.all([store.get('abc'), store.get('abc')]);
    expect(one).toEqual(await plain.get('abc'));
    expect(one).toEqual(other);
    expect(one).not.toBe(other);
    expect(store.cacheStats()).toMatchObject({ entries: 1, evictions: 0, distrusted: 0 });
    expect(store.cacheStats().bytes).toBeGreaterThan(500);
    expect(plain.cacheStats()).toBeNull();
    const sharing = await open({ prefix: 'other:' });
    expect(sharing.cacheStats()).toEqual(store.cacheStats());
  });

  test('`all` and `scan` neither use nor fill the cache', async () => {
    const store = await open();
    const plain = await openPlain();
    await plain.set('abc', numbered(1));
    const before = store.cacheStats();
    expect(await store.all()).toHaveLength(1);
    for await (const { session } of store.scan()) expect(session.n).toBe(1);
    expect(store.cacheStats()).toEqual(before);
  });

  test('a changed prefix applies to the cache', async () => {
    const store = await open();
    const other = await openPlain({ prefix: 'other:' });
    await other.set('abc', numbered(2));
    await store.set('abc', numbered(1));
    await warm(store);
    store.prefix = 'other:';
    expect(hit(store, 'abc')).toBe('later');
    await warm(store);
    expect(hit(store, 'abc')).toBe(2);
    store.prefix = 'sess:';
    expect(hit(store, 'abc')).toBe(1);
  });

  test('a cache hit returns text of any width as it is stored', async () => {
    const store = await open();
    await store.set('abc', numbered('é😀\u0000'));
    await warm(store);
    expect(hit(store, 'abc')).toBe('é😀\u0000');
  });

  test('the cache distinguishes ids of any length and width', async () => {
    const store = await open();
    const starts = ['x'.repeat(126), `${'x'.repeat(121)}é`, 'é'.repeat(300), '\u0000'];
    for (const start of starts) {
      await store.set(`${start}1`, numbered(1));
      await store.set(`${start}2`, numbered(2));
      await until(() => hit(store, `${start}1`) === 1 && hit(store, `${start}2`) === 2);
      expect(hit(store, start)).toBe('later');
    }
  });

  test("the next read is a cache hit after the store's own `set` or `touch`", async () => {
    const store = await open();
    await store.set('abc', numbered(1));
    await until(() => hit(store, 'abc') === 1);
    await store.set('abc', numbered(2));
    await until(() => hit(store, 'abc') === 2);
    await store.touch('abc', numbered(2));
    await until(() => hit(store, 'abc') === 2);
  });

  test('a write is not overtaken by a cached read of the same tick, by any store', async () => {
    const store = await open();
    const other = await open({ disableTouch: true });
    await store.set('abc', numbered(1));
    await warm(store);
    expect(hit(other, 'abc')).toBe(1);
    const writes = [
      // The session that was set may have been read again by then.
      [() => store.set('abc', numbered(2), () => {}), ['later', 2]],
      [() => store.destroy('abc', () => {}), ['later']],
      [() => store.clear(() => {}), ['later']],
    ];
    for (const [write, expected] of writes) {
      await store.set('abc', numbered(1));
      await warm(store);
      write();
      expect(expected).toContain(hit(other, 'abc'));
      await other.get('abc');
    }
    await store.clear();
    expect(await other.get('abc')).toBeNull();
    expect(hit(other, 'abc')).toBe('later');
  });

  test.each([
    ['sets it', (plain) => plain.set('abc', numbered(2)), 2],
    ['destroys it', (plain) => plain.destroy('abc'), null],
    ['touches it', (plain) => plain.touch('abc', numbered(1)), 1],
    ['clears all', (plain) => plain.clear(), null],
    ['shortens its lifetime', () => redis.command('PEXPIRE', 'sess:abc', '60000'), 1],
    ['makes it expire', () => redis.command('PEXPIREAT', 'sess:abc', '1'), null],
    ['empties the database', () => redis.command('FLUSHDB'), null],
    ['empties the server', () => redis.command('FLUSHALL', 'ASYNC'), null],
    ['removes its expiry', () => redis.command('PERSIST', 'sess:abc'), 1],
    ['reads and deletes it', () => redis.command('GETDEL', 'sess:abc'), null],
    [
      'changes it by a script',
      () =>
        redis.command('EVAL', "redis.call('SET', KEYS[1], ARGV[1])", '1', 'sess:abc', '{"cookie":{},"n":3}'),
      3,
    ],
    [
      'copies another session over it',
      async () => {
        await redis.command('SET', 'sess:other', '{"cookie":{},"n":4}');
        await redis.command('COPY', 'sess:other', 'sess:abc', 'REPLACE');
      },
      4,
    ],
    ['deletes it directly', () => redis.command('DEL', 'sess:abc'), null],
    ['renames it', () => redis.command('RENAME', 'sess:abc', 'sess:other'), null],
  ])('a cached session is invalidated when another client %s', async (_what, change, expected) => {
    const store = await open();
    const plain = await openPlain();
    await store.set('abc', numbered(1));
    await warm(store);
    await change(plain);
    await until(() => hit(store, 'abc') === 'later');
    const session = await store.get('abc');
    expect(session === null ? null : session.n).toBe(expected);
  });

  test('a session is not cached beyond its expiry', async () => {
    const store = await open();
    // Until it is cached before it expires.
    await until(async () => {
      await store.set('abc', numbered(1, { maxAge: 300 }));
      await store.get('abc');
      return hit(store, 'abc') !== 'later';
    });
    await until(() => hit(store, 'abc') === 'later');
    // The cached entry expires no later than the key, and possibly a moment sooner.
    await until(async () => (await store.get('abc')) === null);
    expect(hit(store, 'abc')).toBe('later');
  });

  test('a cache hit returns the expiry in force', async () => {
    const store = await open();
    const timed = await open({ touchAfter: 60 });
    await store.set('abc', numbered(1, { maxAge: HOUR }));
    await redis.command('PEXPIRE', 'sess:abc', '60000');
    for (const reader of [store, timed]) {
      const expiry = async () => new Date((await reader.get('abc')).cookie.expires) - Date.now();
      // Waits until the invalidation has arrived.
      await until(async () => Math.abs((await expiry()) - 60_000) < 5000);
      await warm(reader);
      expect(Math.abs((await expiry()) - 60_000)).toBeLessThan(5000);
    }
    expect(store.cacheStats().hits).toBeGreaterThan(1);
  });

  test("cached sessions are invalidated when the server evicts their keys for the store's own writes", async () => {
    const store = await open();
    for (let n = 0; n < 50; n++) await store.set(`s${n}`, numbered('x'.repeat(20_000)));
    for (let n = 0; n < 50; n++) await warm(store, `s${n}`);
    const [, used] = /used_memory:(\d+)/.exec(await redis.command('INFO', 'memory'));
    await redis.command('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-random');
    await redis.command('CONFIG', 'SET', 'maxmemory', String(Number(used) + 40_000));
    try {
      for (let n = 0; n < 30; n++) await store.set(`new${n}`, numbered('y'.repeat(20_000)));
      const gone = [];
      for (let n = 0; n < 50; n++)
        if ((await redis.command('EXISTS', `sess:s${n}`)) === 0) gone.push(`s${n}`);
      expect(gone.length).toBeGreaterThan(0);
      await until(() => gone.every((id) => hit(store, id) === 'later'));
    } finally {
      await redis.command('CONFIG', 'SET', 'maxmemory', '0');
    }
  });

  test('no reader returns an old session when there are more keys than the server tracks', async () => {
    const ids = Array.from({ length: 50 }, (_, n) => `s${n}`);
    const store = await open();
    const plain = await openPlain();
    await redis.command('CONFIG', 'SET', 'tracking-table-max-keys', '10');
    try {
      for (const round of [1, 2, 3]) {
        await Promise.all(ids.map((id) => plain.set(id, numbered(round))));
        // The invalidations of these changes may still be on their way.
        await until(async () => {
          const sessions = await Promise.all(ids.map((id) => store.get(id)));
          return sessions.every(({ n }) => n === round);
        });
        for (const id of ids) await store.get(id);
      }
      // The server stops tracking some keys from time to time, and sends invalidations for them.
      await until(() => store.cacheStats().entries <= 10);
    } finally {
      await redis.command('CONFIG', 'SET', 'tracking-table-max-keys', '1000000');
    }
  });

  test('a lost connection empties the cache', async () => {
    const store = await open();
    store.on('error', () => {});
    await store.set('abc', numbered(1));
    await warm(store);
    await redis.command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    await until(() => hit(store, 'abc') === 'later');
    await redis.command('SET', 'sess:abc', JSON.stringify(numbered(2)));
    // A session that was read between the two may be cached until its invalidation arrives.
    await until(async () => {
      await store.get('abc');
      return hit(store, 'abc') === 2;
    });
  });

  test('conditional saves work with cached sessions', async () => {
    const store = await open({ onConflict: 'merge' });
    const plain = await openPlain();
    await plain.set('abc', liveSession('abc', { a: 1, n: 1 }));
    await warm(store);
    const mine = store.createSession({ sessionID: 'abc' }, await store.get('abc'));
    await plain.set('abc', liveSession('abc', { a: 2, n: 1 }));
    mine.n = 2;
    await store.set('abc', mine);
    expect(await redis.stored('sess:abc')).toMatchObject({ a: 2, n: 2 });
    expect(await store.get('abc')).toMatchObject({ a: 2, n: 2 });
  });

  test('concurrent reads share a round trip, and each returns a new object', async () => {
    const writer = await openPlain();
    for (const store of [await open(), await openPlain()]) {
      await writer.set('one', numbered(1));
      await writer.set('two', numbered(2));
      await redis.command('CONFIG', 'RESETSTAT');
      const sessions = await Promise.all(Array.from({ length: 6 }, () => store.get('one')));
      expect(new Set(sessions).size).toBe(6);
      expect(sessions.every(({ n }) => n === 1)).toBe(true);
      expect(await redis.calls('get')).toBe(1);
      // A read called after a write does not share one called before it.
      const before = store.get('two');
      const write = store.set('two', numbered(3));
      const after = store.get('two');
      expect((await before).n).toBe(2);
      expect((await after).n).toBe(3);
      await write;
    }
  });
});

describe('callbacks of hits', () => {
  const redis = useRedis();
  const openWarm = async (options) => {
    const store = await openStore('url', redis.port, { cache: true, ...options });
    await store.set('abc', numbered(1));
    await until(() => hit(store, 'abc') === 1);
    return store;
  };

  test('an error thrown by the callback of a cache hit reaches the caller, once', async () => {
    const store = await openWarm();
    let calls = 0;
    const fail = () =>
      store.get('abc', () => {
        calls++;
        throw new Error('the app');
      });
    // As many as are allowed in nested callbacks: none of them counts as nested.
    for (let n = 1; n <= 16; n++) {
      try {
        fail();
      } catch (error) {
        expect(error.message).toBe('the app');
      }
      expect(calls).toBe(n);
    }
    expect(hit(store, 'abc')).toBe('later');
    await until(() => hit(store, 'abc') === 1);
  });

  test('reads from the callbacks of cache hits neither overflow the stack nor starve the event loop', async () => {
    const store = await openWarm();
    let reads = 0;
    let turns = 0;
    const count = setInterval(() => turns++, 1);
    await new Promise((resolve, reject) => {
      const next = (error, session) => {
        if (error || session.n !== 1) reject(error ?? new Error('no session'));
        else if (++reads === 100_000) resolve();
        else store.get('abc', next);
      };
      store.get('abc', next);
    });
    clearInterval(count);
    expect(turns).toBeGreaterThan(1);
  });

  test('awaited cache hits in a loop do not starve the event loop', async () => {
    const store = await openWarm();
    let hasTurned = false;
    setImmediate(() => {
      hasTurned = true;
    });
    let reads = 0;
    while (!hasTurned && reads < 1000) {
      expect((await store.get('abc')).n).toBe(1);
      reads++;
    }
    expect(reads).toBeLessThan(1000);
    expect(store.cacheStats().hits).toBeGreaterThanOrEqual(reads);
  });

  test('corrupt sessions and asynchronous serializers behave the same on a cache hit as on a miss', async () => {
    const store = await openWarm();
    await redis.command('SET', 'sess:bad', '{x');
    await expect(store.get('bad')).rejects.toMatchObject({ code: 'ERR_SESSION_CORRUPT' });
    expect(hit(store, 'bad')).toMatchObject({ code: 'ERR_SESSION_CORRUPT', position: 1 });
    const slow = keepStore(
      new RedisStore({
        url: `redis://127.0.0.1:${redis.port}`,
        cache: true,
        serializer: { parse: async (text) => JSON.parse(text), stringify: JSON.stringify },
      }),
    );
    expect((await slow.get('abc')).n).toBe(1);
    expect((await slow.get('abc')).n).toBe(1);
  });
});
