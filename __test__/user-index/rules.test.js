'use strict';

const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');
const { RedisStore } = require('../..');
const { ASSERT } = require('../../lib/user-index/scripts.js');
const { startProxy } = require('../support/proxy.js');
const { useRedis } = require('../support/redis.js');
const { endedWith, runNode } = require('../support/run.js');
const { describeServers } = require('../support/servers.js');
const { liveSession } = require('../support/sessions.js');
const { closeAll, keepStore, openClient, openStore } = require('../support/stores.js');
const { NEVER_MS, until } = require('../support/until.js');
const { age, collect, endOf, indexKey, load, logIn, numbersOf, userId } = require('./support.js');

afterEach(closeAll);

describe('options', () => {
  const url = 'redis://127.0.0.1:1';
  test.each([
    ['an index prefix under which sessions are', { userId, prefix: 'sess' }],
    ['a prefix under which indexes are', { userId, prefix: 'sess-of:a:' }],
    ['an empty prefix', { userId, prefix: '' }],
    ['userId along with indexes', { userId, indexes: { idp: userId } }],
    ['the name of an index that is no word', { indexes: { 'a:b': userId } }],
    ['no index', { indexes: {} }],
    ['maxSessionsOf without userId', { maxSessionsOf: 3 }],
    ['maxSessionsOf without the index user', { indexes: { idp: userId }, maxSessionsOf: 3 }],
    ['onSessionLimit without maxSessionsOf', { userId, onSessionLimit: 'reject' }],
    ['authenticatedAt without userId', { authenticatedAt: () => 0 }],
  ])('the constructor rejects %s', (_what, options) => {
    expect(() => new RedisStore({ url, ...options })).toThrow(
      expect.objectContaining({ name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' }),
    );
  });
});

const redis = useRedis();
const open = (options = {}) => openStore('url', redis.port, { userId, ...options });

test('the methods reject without the option `userId`, for a wrong user and for an unknown index', async () => {
  const plain = await openStore('url', redis.port);
  const store = await open();
  const invalid = { code: 'ERR_INVALID_ARG_VALUE' };
  await expect(plain.countOf(1)).rejects.toMatchObject(invalid);
  await expect(store.countOf(1, { index: 'idp' })).rejects.toMatchObject(invalid);
  for (const user of [undefined, null, {}, true])
    await expect(store.destroyAllOf(user)).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
  await expect(store.countOf(Number.NaN)).rejects.toMatchObject({ code: 'ERR_OUT_OF_RANGE' });
  await expect(store.destroyAllOf(1, { except: {} })).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
  await store.close();
  await expect(store.countOf(1)).rejects.toMatchObject({ code: 'ERR_STORE_CLOSED' });
});

test('a misspelled option destroys nothing', async () => {
  const store = await open();
  await logIn(store, 'a', 1, { n: 1 });
  for (const options of [{ excpet: 'a' }, { execpt: ['a'], index: 'user' }])
    await expect(store.destroyAllOf(1, options)).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_VALUE' });
  for (const options of ['a', null])
    await expect(store.destroyAllOf(1, options)).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
  await expect(store.countOf(1, { except: 'a' })).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_VALUE' });
  expect(await numbersOf(store, 1)).toEqual([1]);
});

test('`set` fails if `userId` throws or returns no user, and stores nothing', async () => {
  const store = await open();
  const failing = await open({ userId: () => JSON.parse('no JSON') });
  await expect(logIn(store, 'a', { id: 1 })).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
  await expect(logIn(failing, 'a', 1)).rejects.toBeInstanceOf(SyntaxError);
  expect(await redis.keys()).toEqual([]);
});

test('without `userId`, a save and a touch send what they sent before', async () => {
  const store = await openStore('url', redis.port);
  const session = liveSession('a', { userId: 1 });
  await store.set('a', session);
  await store.touch('a', session);
  await store.destroy('a');
  for (const command of ['evalsha', 'eval', 'hset']) expect(await redis.calls(command)).toBe(0);
});

test('a save and a touch of a known session send no more than without an index', async () => {
  const store = await open();
  await logIn(store, 'a', 1);
  const session = await load(store, 'a');
  await store.set('a', session);
  const scripts = async () => (await redis.calls('evalsha')) + (await redis.calls('eval'));
  const before = await scripts();
  for (let n = 0; n < 20; n++) {
    session.n = n;
    await store.set('a', session);
    await store.touch('a', session);
    await store.get('a');
  }
  expect(await scripts()).toBe(before);
});

test('with `maxLifetime`, no touch prolongs the entry, however short the idle time', async () => {
  const store = await open({ maxLifetime: 3600, idleTimeout: 0.3 });
  await logIn(store, 'a', 1);
  const entry = async () => String(await redis.command('HGET', indexKey(1), 'a'));
  const before = await entry();
  expect(endOf(before) - Date.now()).toBeGreaterThan(3_600_000);
  expect(endOf(before) - Date.now()).toBeLessThan(2 * 3_600_000);
  for (let n = 0; n < 20; n++) {
    await sleep(50);
    const session = await load(store, 'a');
    // On a busy machine, it may have ended by its idle time.
    if (session === null) break;
    await store.touch('a', session);
    expect(await entry()).toBe(before);
  }
});

describe('round trips', () => {
  /** Returns how many round trips `run` takes. The least of several times, as the connection sends a `PING` now and then. */
  async function roundTrips(proxy, run) {
    const counts = [];
    for (let n = 0; n < 5; n++) {
      const before = proxy.roundTrips;
      await run(n);
      counts.push(proxy.roundTrips - before);
    }
    return Math.min(...counts);
  }
  let proxy;
  let store;
  beforeEach(async () => {
    proxy = await startProxy(redis.port);
    store = keepStore(new RedisStore({ url: proxy.url, userId, commandTimeout: NEVER_MS }));
    for (let n = 0; n < 10; n++) await logIn(store, `s${n}`, 1, { n });
    await numbersOf(store, 1);
  });
  afterEach(async () => {
    await closeAll();
    await proxy.close();
  });

  test('a list of 10 sessions takes two', async () => {
    expect(await roundTrips(proxy, () => numbersOf(store, 1))).toBe(2);
  });

  test('a login takes two more than a save, and later saves and touches take none', async () => {
    expect(await roundTrips(proxy, (n) => store.set(`anonymous${n}`, liveSession(`anonymous${n}`)))).toBe(1);
    expect(await roundTrips(proxy, (n) => logIn(store, `login${n}`, 2))).toBe(3);
    const session = await load(store, 's1');
    expect(await roundTrips(proxy, () => store.set('s1', session))).toBe(1);
    expect(await roundTrips(proxy, () => store.touch('s1', session))).toBe(1);
    expect(await roundTrips(proxy, () => store.get('s1'))).toBe(1);
  });
});

test.each([
  ['glob and separator characters', '*?[]\\@%:{}'],
  ['line breaks and NUL', 'a\r\n\0b'],
  ['what is no ASCII', 'Zoë 🦊'],
  ['nothing', ''],
  ['the name of a property of objects', '__proto__'],
  ['10,000 characters', 'x'.repeat(10_000)],
])('a user of %s has an index of its own', async (_what, user) => {
  const store = await open();
  await logIn(store, 'a', user, { n: 1 });
  await logIn(store, 'b', `${user}x`, { n: 2 });
  expect(await numbersOf(store, user)).toEqual([1]);
  expect(await store.destroyAllOf(user)).toBe(1);
  expect(await numbersOf(store, `${user}x`)).toEqual([2]);
});

test('no user of one prefix reaches the index of another prefix', async () => {
  const outer = await open({ prefix: 'a:' });
  const inner = await open({ prefix: 'a:b:' });
  await logIn(inner, 'x', '1', { n: 1 });
  for (const user of ['1', 'b:1', '1@a:b:', 'b:']) {
    expect(await outer.countOf(user)).toBe(0);
    expect(await outer.destroyAllOf(user)).toBe(0);
  }
  expect(await numbersOf(inner, '1')).toEqual([1]);
});

test.each(['native', 'client'])(
  'the key prefix of a client precedes that of indexes (%s)',
  async (transport) => {
    const client = await openClient('ioredis6', redis.port, { keyPrefix: 'app:' });
    const store = keepStore(new RedisStore({ client, transport, userId }));
    await logIn(store, 'a', 1, { n: 1 });
    expect(await redis.keys()).toEqual(['app:sess-of:user:1@sess:', 'app:sess:a']);
    expect(await store.destroyAllOf(1)).toBe(1);
  },
);

test('with `hashUserIds`, no key contains the user', async () => {
  const store = await open({ hashUserIds: true });
  await logIn(store, 'a', 'someone@example.org', { n: 1 });
  expect((await redis.keys()).join()).not.toContain('someone');
  expect(await numbersOf(store, 'someone@example.org')).toEqual([1]);
});

test('a session belongs to each of several `indexes`', async () => {
  const store = await openStore('url', redis.port, {
    indexes: { user: userId, idp: (session) => session.sid },
  });
  await logIn(store, 'a', 1, { n: 1, sid: 'idp-1' });
  await logIn(store, 'b', 1, { n: 2, sid: 'idp-2' });
  await logIn(store, 'c', 1, { n: 3 });
  expect(await numbersOf(store, 1)).toEqual([1, 2, 3]);
  expect(await numbersOf(store, 'idp-2', { index: 'idp' })).toEqual([2]);
  expect(await store.destroyAllOf('idp-1', { index: 'idp' })).toBe(1);
  expect(await numbersOf(store, 1)).toEqual([2, 3]);
});

test('a user with 3,000 sessions is read page by page', async () => {
  const store = await open();
  await Promise.all(Array.from({ length: 3000 }, (_, n) => logIn(store, `s${n}`, 1, { n })));
  const handles = new Set((await collect(store.sessionsOf(1))).map(({ handle }) => handle));
  expect(handles.size).toBe(3000);
  expect(await store.destroyAllOf(1, { except: ['s1', 's2'] })).toBe(2998);
  expect(await numbersOf(store, 1)).toEqual([1, 2]);
});

test('operations on a session that follow its first save do not overtake it', async () => {
  for (const onConflict of ['overwrite', 'reject']) {
    const store = await open({ onConflict, prefix: `${onConflict}:` });
    const saved = logIn(store, 'a', 1, { n: 1 });
    const read = store.get('a');
    const session = liveSession('b', { userId: 1 });
    const second = store.set('b', session);
    const touched = store.touch('b', session);
    const destroyed = store.destroy('b');
    expect(await saved).toBe(null);
    expect(await read).toMatchObject({ n: 1 });
    expect(await Promise.all([second, touched, destroyed])).toEqual([null, null, null]);
    expect(await store.ids()).toEqual(['a']);
  }
});

test.each(['overwrite', 'reject', 'merge'])(
  'sessions are indexed with onConflict: %j',
  async (onConflict) => {
    const store = await open({ onConflict });
    await logIn(store, 'a', 1, { n: 1 });
    const session = await load(store, 'a');
    session.n = 2;
    await store.set('a', session);
    session.userId = 2;
    await store.set('a', session);
    expect([await numbersOf(store, 1), await numbersOf(store, 2)]).toEqual([[], [2]]);
    const inProgress = await load(store, 'a');
    expect(await store.destroyAllOf(2)).toBe(1);
    inProgress.n = 3;
    expect(await store.set('a', inProgress)).toBe('discarded');
    expect(await store.ids()).toEqual([]);
  },
);

test('with `cache`, a session that another process destroys by its user disappears from this one', async () => {
  const store = await open({ cache: true });
  const other = await open({ connectTimeout: 4999 });
  await logIn(store, 'a', 1, { n: 1 });
  await until(async () => {
    const { hits } = store.cacheStats();
    await store.get('a');
    return store.cacheStats().hits > hits;
  });
  expect(await other.destroyAllOf(1)).toBe(1);
  await until(async () => (await store.get('a')) === null);
  await logIn(store, 'b', 1, { n: 1 });
  await store.get('b');
  expect(await store.destroyAllOf(1)).toBe(1);
  expect(await store.get('b')).toBe(null);
});

test('a session that another process has stored is dropped from the index by its logout', async () => {
  const store = await open();
  const other = await open({ connectTimeout: 4999 });
  await logIn(store, 'a', 1);
  await age(redis, 'sess-of:user:1@sess:', 'a');
  await other.destroy('a');
  await until(async () => (await redis.keys()).length === 0);
});

test('a callback that throws does not lock its session', async () => {
  const store = await open();
  await logIn(store, 'a', 1, { n: 1 });
  const program = path.join(__dirname, 'programs', 'throwing-callback.js');
  const ended = await runNode(program, redis.server.url);
  expect(ended).toEqual(endedWith(JSON.stringify({ thrown: ['of the app'], n: 1 })));
});

test('scripts that the server has forgotten are sent again', async () => {
  const store = await open();
  await logIn(store, 'a', 1, { n: 1 });
  await redis.command('SCRIPT', 'FLUSH');
  await logIn(store, 'b', 1, { n: 2 });
  await redis.command('SCRIPT', 'FLUSH');
  expect(await numbersOf(store, 1)).toEqual([1, 2]);
  await redis.command('SCRIPT', 'FLUSH');
  expect(await store.destroyAllOf(1)).toBe(2);
});

test('an index key of another type fails the save, which stores nothing', async () => {
  const store = await open();
  await redis.command('SET', 'sess-of:user:1@sess:', 'no hash');
  await expect(logIn(store, 'a', 1)).rejects.toMatchObject({ code: 'ERR_REDIS_REPLY' });
  expect(await store.ids()).toEqual([]);
});

test('`close` lets a login that has begun end well', async () => {
  for (let times = 0; times < 20; times++) {
    const store = await open();
    const saved = logIn(store, `s${times}`, 1);
    await store.close();
    expect(await saved).toBe(null);
  }
});

test('binary values and asynchronous serializers are indexed', async () => {
  const serializer = {
    stringify: (session) => Buffer.from(JSON.stringify(session)),
    parse: async (text) => JSON.parse(text),
  };
  const store = await open({ serializer });
  await logIn(store, 'a', 1, { n: 1 });
  expect(await numbersOf(store, 1)).toEqual([1]);
  expect(await store.updateAllOf(1, (session) => ({ ...session, n: 2 }))).toBe(1);
  expect(await numbersOf(store, 1)).toEqual([2]);
  expect(await store.destroyAllOf(1)).toBe(1);
});

test('a session that cannot be read is reported, and its entry kept', async () => {
  const store = await open();
  await logIn(store, 'a', 1);
  await redis.command('SET', 'sess:a', 'no JSON');
  const [entry] = await collect(store.sessionsOf(1));
  expect(entry).toMatchObject({ session: null, error: { code: 'ERR_SESSION_CORRUPT' } });
  expect(await store.countOf(1)).toBe(0);
  expect(await store.destroyAllOf(1)).toBe(0);
  expect(await redis.command('HLEN', 'sess-of:user:1@sess:')).toBe(1);
});

test('a session that a serializer writes as bytes that are no UTF-8 is destroyed', async () => {
  const serializer = {
    stringify: (session) => Buffer.concat([Buffer.from([0xff]), Buffer.from(JSON.stringify(session))]),
    parse: (text) => JSON.parse(text.slice(1)),
  };
  const store = await open({ serializer });
  await logIn(store, 'a', 1);
  expect(await store.destroyAllOf(1)).toBe(1);
  expect(await store.ids()).toEqual([]);
});

test('a session that was destroyed is stored again by a new object, and with `saveDestroyed` by any', async () => {
  const store = await open();
  const plain = { cookie: {}, userId: 1, n: 1 };
  for (let times = 0; times < 3; times++) {
    expect(await store.set('a', plain)).toBe(null);
    expect(await numbersOf(store, 1)).toEqual([1]);
    await store.destroy('a');
    await until(async () =>
      String(await redis.command('HGET', 'sess-of:user:1@sess:', 'a')).endsWith(' evicted'),
    );
  }
  const saving = await open({ saveDestroyed: true });
  await logIn(saving, 'b', 1, { n: 2 });
  const session = await load(saving, 'b');
  expect(await saving.destroyAllOf(1)).toBe(1);
  expect(await saving.set('b', session)).toBe(null);
  expect(await numbersOf(saving, 1)).toEqual([2]);
});

test('sessions without an expiry have entries without one', async () => {
  const store = await open({ disableTTL: true });
  await logIn(store, 'a', 1, { n: 1 });
  expect(await redis.lifetime('sess-of:user:1@sess:')).toBe(-1);
  const [entry] = await collect(store.sessionsOf(1));
  expect(entry).toMatchObject({ expiresAt: null, lastSeenAt: null, ttl: null });
});

describe('a process that died between two commands', () => {
  const key = 'sess-of:user:1@sess:';
  const assert = (id, ...rest) =>
    redis.command('EVAL', ASSERT.text, 1, key, id, '7200000', ...(rest.length ? rest : ['0', '', '', '']));

  test('between entry and session leaves an entry that readers keep for a minute, then drop', async () => {
    const store = await open();
    await assert('a');
    expect(await store.countOf(1)).toBe(0);
    expect(await redis.command('HLEN', key)).toBe(1);
    await age(redis, key, 'a');
    expect(await store.countOf(1)).toBe(0);
    expect(await redis.command('HLEN', key)).toBe(0);
  });

  test('between session and entry at a logout leaves an entry that no reader shows', async () => {
    const store = await open();
    await logIn(store, 'a', 1);
    await redis.command('DEL', 'sess:a');
    expect(await collect(store.sessionsOf(1))).toEqual([]);
    expect(await store.destroyAllOf(1)).toBe(0);
  });

  test('while its save was still to be sent again has no session that was destroyed in between', async () => {
    const store = await open();
    const text = JSON.stringify(liveSession('a', { userId: 1, n: 1 }));
    await assert('a', '0', 'check', '', 'login');
    await redis.command('SET', 'sess:a', text);
    expect(await store.destroyAllOf(1)).toBe(1);
    // The save is executed again.
    await redis.command('SET', 'sess:a', text);
    expect(String(await assert('a', '0', 'again', '', 'login'))).toBe('evicted');
    expect(await collect(store.sessionsOf(1))).toEqual([]);
    expect(await store.ids()).toEqual([]);
    // Another login under the same id is a new one.
    await logIn(store, 'a', 1, { n: 2 });
    expect(await numbersOf(store, 1)).toEqual([2]);
  });

  test('after it marked the oldest session leaves one that the next reader destroys', async () => {
    const store = await open();
    await logIn(store, 'a', 1, { n: 1 });
    await assert('b', '1', 'evict', '', '');
    await logIn(store, 'b', 1, { n: 2 });
    expect(await numbersOf(store, 1)).toEqual([2]);
    expect(await store.ids()).toEqual(['b']);
  });
});

describeServers('limits on %s', (_name, program) => {
  const server = useRedis({ program });
  const openLimited = (options) => openStore('url', server.port, { userId, maxSessionsOf: 3, ...options });

  test('beyond `maxSessionsOf`, the oldest sessions are destroyed', async () => {
    const store = await openLimited();
    for (let n = 1; n <= 5; n++) await logIn(store, `s${n}`, 1, { n });
    await logIn(store, 'other', 2, { n: 6 });
    expect(await numbersOf(store, 1)).toEqual([3, 4, 5]);
    expect((await store.ids()).sort()).toEqual(['other', 's3', 's4', 's5']);
  });

  test("with onSessionLimit: 'reject', a save beyond `maxSessionsOf` fails until a session has ended", async () => {
    const store = await openLimited({ onSessionLimit: 'reject' });
    for (let n = 1; n <= 3; n++) await logIn(store, `s${n}`, 1, { n });
    await expect(logIn(store, 's4', 1, { n: 4 })).rejects.toMatchObject({ code: 'ERR_SESSION_LIMIT' });
    // Those that exist can be saved.
    const session = await load(store, 's1');
    session.again = true;
    expect(await store.set('s1', session)).toBe(null);
    // Without its process noticing.
    await server.command('DEL', 'sess:s2');
    await age(server, 'sess-of:user:1@sess:', 's2');
    await logIn(store, 's4', 1, { n: 4 });
    expect(await numbersOf(store, 1)).toEqual([1, 3, 4]);
  });

  test.each(['destroy-oldest', 'reject'])(
    'exactly N sessions remain when N + 1 logins race (%s)',
    async (onSessionLimit) => {
      const stores = await Promise.all(
        [1, 2, 3, 4].map((n) => openLimited({ onSessionLimit, connectTimeout: 5000 + n })),
      );
      for (let user = 1; user <= 40; user++) {
        const results = await Promise.allSettled(
          stores.map((store, n) => logIn(store, `u${user}-${n}`, user, { n })),
        );
        expect(await stores[0].countOf(user)).toBe(3);
        if (onSessionLimit === 'reject')
          expect(
            results.filter(({ status }) => status === 'rejected').map(({ reason }) => reason.code),
          ).toEqual(['ERR_SESSION_LIMIT']);
      }
      expect(await stores[0].length()).toBe(120);
    },
  );

  test('a function decides the limit by the session', async () => {
    const store = await openLimited({
      maxSessionsOf: (session) => (session.isAdmin ? 1 : Number.POSITIVE_INFINITY),
    });
    for (let n = 1; n <= 5; n++) await logIn(store, `s${n}`, 1, { n });
    expect(await store.countOf(1)).toBe(5);
    await logIn(store, 's6', 1, { n: 6, isAdmin: true });
    expect(await numbersOf(store, 1)).toEqual([6]);
  });

  test('after `destroyAllOf` with `notBefore`, logins that were checked earlier are refused', async () => {
    const store = await openStore('url', server.port, { userId });
    const checked = Date.now() - 1000;
    await logIn(store, 'a', 1);
    expect(await store.destroyAllOf(1, { notBefore: new Date() })).toBe(1);
    await expect(logIn(store, 'b', 1, { authenticatedAt: checked })).rejects.toMatchObject({
      code: 'ERR_SESSION_REVOKED',
    });
    expect(await store.ids()).toEqual([]);
    await logIn(store, 'c', 1, { n: 3, authenticatedAt: new Date(Date.now() + 1).toISOString() });
    await logIn(store, 'd', 2, { authenticatedAt: checked });
    await logIn(store, 'e', 1, { n: 5 });
    expect(await numbersOf(store, 1)).toEqual([3, 5]);
    expect(await store.destroyAllOf(1, { notBefore: checked })).toBe(2);
    await expect(logIn(store, 'f', 1, { authenticatedAt: checked })).rejects.toMatchObject({
      code: 'ERR_SESSION_REVOKED',
    });
  });
});
