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

  /** Reads until what is read is kept. */
  async function warm(store, id = 'abc') {
    await until(async () => {
      await store.get(id);
      return hit(store, id) !== 'later';
    });
  }

  test('a session that was read is given in the same tick, each time as an object of its own', async () => {
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

  test('listings neither use nor fill it', async () => {
    const store = await open();
    const plain = await openPlain();
    await plain.set('abc', numbered(1));
    const before = store.cacheStats();
    expect(await store.all()).toHaveLength(1);
    for await (const { session } of store.scan()) expect(session.n).toBe(1);
    expect(store.cacheStats()).toEqual(before);
  });

  test('a prefix that is set later is that of what is kept, too', async () => {
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

  test('texts of any width are given as they are stored', async () => {
    const store = await open();
    await store.set('abc', numbered('é😀\u0000'));
    await warm(store);
    expect(hit(store, 'abc')).toBe('é😀\u0000');
  });

  test('ids of any length and width are told apart', async () => {
    const store = await open();
    const starts = ['x'.repeat(126), `${'x'.repeat(121)}é`, 'é'.repeat(300), '\u0000'];
    for (const start of starts) {
      await store.set(`${start}1`, numbered(1));
      await store.set(`${start}2`, numbered(2));
      await until(() => hit(store, `${start}1`) === 1 && hit(store, `${start}2`) === 2);
      expect(hit(store, start)).toBe('later');
    }
  });

  test('after an own set or touch, the next read is a hit', async () => {
    const store = await open();
    await store.set('abc', numbered(1));
    await until(() => hit(store, 'abc') === 1);
    await store.set('abc', numbered(2));
    await until(() => hit(store, 'abc') === 2);
    await store.touch('abc', numbered(2));
    await until(() => hit(store, 'abc') === 2);
  });

  test('an own write is not overtaken by a read of the same tick, of whatever store', async () => {
    const store = await open();
    const other = await open({ disableTouch: true });
    await store.set('abc', numbered(1));
    await warm(store);
    expect(hit(other, 'abc')).toBe(1);
    const writes = [
      // What was set may have been read again by then.
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
    ['shortens its life', () => redis.command('PEXPIRE', 'sess:abc', '60000'), 1],
    ['lets it end', () => redis.command('PEXPIREAT', 'sess:abc', '1'), null],
    ['empties the database', () => redis.command('FLUSHDB'), null],
    ['empties the server', () => redis.command('FLUSHALL', 'ASYNC'), null],
    ['takes its end away', () => redis.command('PERSIST', 'sess:abc'), 1],
    ['takes it', () => redis.command('GETDEL', 'sess:abc'), null],
    [
      'changes it by a script',
      () =>
        redis.command('EVAL', "redis.call('SET', KEYS[1], ARGV[1])", '1', 'sess:abc', '{"cookie":{},"n":3}'),
      3,
    ],
    [
      'copies another over it',
      async () => {
        await redis.command('SET', 'sess:other', '{"cookie":{},"n":4}');
        await redis.command('COPY', 'sess:other', 'sess:abc', 'REPLACE');
      },
      4,
    ],
    ['deletes it directly', () => redis.command('DEL', 'sess:abc'), null],
    ['renames it', () => redis.command('RENAME', 'sess:abc', 'sess:other'), null],
  ])('what is kept is forgotten when somebody else %s', async (_what, change, expected) => {
    const store = await open();
    const plain = await openPlain();
    await store.set('abc', numbered(1));
    await warm(store);
    await change(plain);
    await until(() => hit(store, 'abc') === 'later');
    const session = await store.get('abc');
    expect(session === null ? null : session.n).toBe(expected);
  });

  test('a session is not kept beyond its end', async () => {
    const store = await open();
    // Until it is kept before it ends.
    await until(async () => {
      await store.set('abc', numbered(1, { maxAge: 300 }));
      await store.get('abc');
      return hit(store, 'abc') !== 'later';
    });
    await until(() => hit(store, 'abc') === 'later');
    // What is kept ends no later than the key, and may end a moment sooner.
    await until(async () => (await store.get('abc')) === null);
    expect(hit(store, 'abc')).toBe('later');
  });

  test('the expiry that is in force comes with it', async () => {
    const store = await open();
    const timed = await open({ touchAfter: 60 });
    await store.set('abc', numbered(1, { maxAge: HOUR }));
    await redis.command('PEXPIRE', 'sess:abc', '60000');
    for (const reader of [store, timed]) {
      const expiry = async () => new Date((await reader.get('abc')).cookie.expires) - Date.now();
      // Until the change is known here.
      await until(async () => Math.abs((await expiry()) - 60_000) < 5000);
      await warm(reader);
      expect(Math.abs((await expiry()) - 60_000)).toBeLessThan(5000);
    }
    expect(store.cacheStats().hits).toBeGreaterThan(1);
  });

  test('keys that the server evicts for our own writes are forgotten', async () => {
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

  test('of more keys than the server remembers, no reader gets an old session', async () => {
    const ids = Array.from({ length: 50 }, (_, n) => `s${n}`);
    const store = await open();
    const plain = await openPlain();
    await redis.command('CONFIG', 'SET', 'tracking-table-max-keys', '10');
    try {
      for (const round of [1, 2, 3]) {
        await Promise.all(ids.map((id) => plain.set(id, numbered(round))));
        // The messages about these changes may be under way yet.
        await until(async () => {
          const sessions = await Promise.all(ids.map((id) => store.get(id)));
          return sessions.every(({ n }) => n === round);
        });
        for (const id of ids) await store.get(id);
      }
      // It forgets keys from time to time, and says so.
      await until(() => store.cacheStats().entries <= 10);
    } finally {
      await redis.command('CONFIG', 'SET', 'tracking-table-max-keys', '1000000');
    }
  });

  test('a lost connection empties it', async () => {
    const store = await open();
    store.on('error', () => {});
    await store.set('abc', numbered(1));
    await warm(store);
    await redis.command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    await until(() => hit(store, 'abc') === 'later');
    await redis.command('SET', 'sess:abc', JSON.stringify(numbered(2)));
    // What was read between the two may be kept until the message about the change has come.
    await until(async () => {
      await store.get('abc');
      return hit(store, 'abc') === 2;
    });
  });

  test('saves that look for conflicts work with what is kept', async () => {
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

  test('concurrent reads share a round trip, and each has an object of its own', async () => {
    const writer = await openPlain();
    for (const store of [await open(), await openPlain()]) {
      await writer.set('one', numbered(1));
      await writer.set('two', numbered(2));
      await redis.command('CONFIG', 'RESETSTAT');
      const sessions = await Promise.all(Array.from({ length: 6 }, () => store.get('one')));
      expect(new Set(sessions).size).toBe(6);
      expect(sessions.every(({ n }) => n === 1)).toBe(true);
      expect(await redis.calls('get')).toBe(1);
      // One that was issued after a write does not join one before it.
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

  test('what one throws passes to the caller, once', async () => {
    const store = await openWarm();
    let calls = 0;
    const fail = () =>
      store.get('abc', () => {
        calls++;
        throw new Error('the app');
      });
    // As many as may be within one another: none of them is taken to be so.
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

  test('one that reads again and again neither overflows the stack nor starves the event loop', async () => {
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

  test('promises awaited again and again do not starve the event loop', async () => {
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

  test('corrupt sessions and asynchronous serializers are as with a miss', async () => {
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
