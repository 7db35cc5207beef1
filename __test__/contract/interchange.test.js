'use strict';

const { RedisStore: ConnectRedis8 } = require('connect-redis8');
const { RedisStore: ConnectRedis10 } = require('connect-redis10');
const { RedisStore } = require('../..');
const { useRedis } = require('../support/redis.js');
const { closeAll, keepStore, openClient, openStore } = require('../support/stores.js');
const { asStored, liveSession, shopVisitor } = require('../support/sessions.js');

const redis = useRedis();
afterEach(closeAll);

const DAY = 24 * 60 * 60 * 1000;

// connect-redis 8.1 takes redis 5's batches of keys for keys, so that it cannot list sessions there.
const predecessors = [
  ['connect-redis 8.1 on ioredis 5', ConnectRedis8, 'ioredis5', { lists: true }],
  ['connect-redis 8.1 on redis 5', ConnectRedis8, 'redis5', { lists: false }],
  ['connect-redis 10 on redis 6', ConnectRedis10, 'redis6', { lists: true }],
];

const sessions = {
  'a session as of a shop': liveSession('id', shopVisitor()),
  'a cookie with every attribute': liveSession(
    'id',
    { user: 'ann' },
    {
      maxAge: DAY,
      domain: 'shop.example',
      path: '/shop',
      sameSite: 'strict',
      secure: true,
      httpOnly: false,
      partitioned: true,
      priority: 'high',
    },
  ),
  'a cookie without an expiry': liveSession('id', {}, { maxAge: null }),
  'characters of every width': liveSession('id', { text: 'aé☃😀e\u0301\u0000\u2028"\\\n', ключ: '値' }),
  'lone surrogates': liveSession('id', { text: 'a\uD83Db\uDE00c' }),
  'what JSON changes': liveSession('id', {
    gone: undefined,
    called: () => 1,
    nan: Number.NaN,
    minusZero: -0,
    when: new Date(0),
    list: [undefined, Symbol('s'), 1],
    map: new Map([[1, 2]]),
    toJSON: undefined,
  }),
  'a plain object': { user: 'ann' },
};

const optionSets = {
  'the default options': {},
  'a prefix of its own': { prefix: 'shop:é:' },
  'an empty prefix': { prefix: '' },
  'a ttl': { ttl: 600 },
  'a ttl function': { ttl: () => 120 },
  'a serializer': {
    serializer: {
      stringify: (session) => Buffer.from(JSON.stringify(session)).toString('base64'),
      parse: (text) => JSON.parse(Buffer.from(text, 'base64').toString()),
    },
  },
  'an async parse': { serializer: { stringify: JSON.stringify, parse: async (text) => JSON.parse(text) } },
  disableTTL: { disableTTL: true },
};

describe.each(predecessors)('%s', (_name, Predecessor, kind, { lists }) => {
  async function openBoth(options) {
    const client = await openClient(kind, redis.port);
    return {
      predecessor: new Predecessor({ client, ...options }),
      store: await openStore('url', redis.port, options),
    };
  }

  /** Returns everything that Redis holds, and deletes it. */
  async function takeEverything() {
    const entries = [];
    for (const key of await redis.command('KEYS', '*')) {
      const [value, lifetime] = [await redis.command('GET', key), await redis.command('PTTL', key)];
      entries.push({ key: key.toString('latin1'), value: value.toString('latin1'), lifetime });
    }
    await redis.command('FLUSHALL');
    return entries;
  }

  describe.each(Object.entries(optionSets))('with %s', (_options, options) => {
    test.each(Object.entries(sessions))(
      '`set` writes what connect-redis writes for %s',
      async (_session, session) => {
        const { predecessor, store } = await openBoth(options);

        const start = Date.now();
        await predecessor.set('id-1', session);
        const theirs = await takeEverything();
        await store.set('id-1', session);
        const ours = await takeEverything();
        const elapsed = Date.now() - start;

        expect(theirs).toHaveLength(1);
        expect(ours).toEqual([{ ...theirs[0], lifetime: expect.any(Number) }]);
        // The predecessor rounds up to whole seconds.
        expect(Math.abs(ours[0].lifetime - theirs[0].lifetime)).toBeLessThanOrEqual(1000 + elapsed);
      },
    );

    test.each(Object.entries(sessions))(
      '`get` returns what connect-redis returns for %s, and the reverse',
      async (_session, session) => {
        const { predecessor, store } = await openBoth(options);
        // As express-session does before it saves.
        session.touch?.();

        await predecessor.set('id-1', session);
        const theirs = await predecessor.get('id-1');
        expect(await store.get('id-1')).toEqual(theirs);
        await store.set('id-2', session);
        expect(await predecessor.get('id-2')).toEqual(theirs);
      },
    );

    test('`ids`, `length`, `all` and `clear` see the sessions of connect-redis, and the reverse', async () => {
      const { predecessor, store } = await openBoth(options);
      await predecessor.set('theirs', liveSession('theirs', { user: 'ann' }));
      await store.set('ours', liveSession('ours', { user: 'bob' }));

      expect((await store.ids()).sort()).toEqual(['ours', 'theirs']);
      expect(await store.length()).toBe(2);
      if (lists) expect((await predecessor.ids()).sort()).toEqual(['ours', 'theirs']);
      expect((await store.all()).map(({ id, user }) => `${id} ${user}`).sort()).toEqual([
        'ours bob',
        'theirs ann',
      ]);
    });

    test('`touch` and `destroy` work on sessions of connect-redis, and the reverse', async () => {
      const { predecessor, store } = await openBoth(options);
      const session = liveSession('abc', {}, { maxAge: null });
      await predecessor.set('theirs', session);
      await store.set('ours', session);
      for (const key of await redis.command('KEYS', '*')) await redis.command('PEXPIRE', key, 10_000);

      const start = Date.now();
      await store.touch('theirs', session);
      await predecessor.touch('ours', session);
      const [one, other] = await Promise.all(
        ['theirs', 'ours'].map((id) => redis.lifetime(`${store.prefix}${id}`)),
      );
      const elapsed = Date.now() - start;
      expect(Math.abs(one - other)).toBeLessThanOrEqual(1000 + elapsed);

      await store.destroy('theirs');
      await predecessor.destroy('ours');
      expect(await redis.keys()).toEqual([]);
    });
  });

  test('50 sessions migrate from connect-redis to this store and back', async () => {
    const { predecessor, store } = await openBoth({});
    const ids = Array.from({ length: 50 }, (_, number) => `visitor-${number}`);
    const visitor = (id, number) => liveSession(id, shopVisitor(number));

    await Promise.all(ids.map((id, number) => predecessor.set(id, visitor(id, number))));
    const carried = await Promise.all(ids.map((id) => store.get(id)));
    await Promise.all(carried.map((session, number) => store.set(ids[number], session)));

    const back = await Promise.all(ids.map((id) => predecessor.get(id)));
    expect(back).toEqual(carried);
    expect(back.map(({ visits }) => visits)).toEqual(ids.map((_, number) => number));
    expect(asStored(back)).toEqual(back);
  });
});

test.each([
  ['connect-redis 8.1 on ioredis 5', ConnectRedis8, 'ioredis5'],
  ['connect-redis 10 on redis 6', ConnectRedis10, 'redis6'],
])('the keys are those of %s when its client has a keyPrefix', async (_name, Predecessor, kind) => {
  const client = await openClient(kind, redis.port, { keyPrefix: 'app:' });
  const predecessor = new Predecessor({ client });
  const store = keepStore(new RedisStore({ client }));

  await predecessor.set('theirs', { user: 'ann' });
  await store.set('ours', { user: 'bob' });

  expect(await redis.keys()).toEqual(['app:sess:ours', 'app:sess:theirs']);
  expect(await store.get('theirs')).toEqual({ user: 'ann' });
  expect(await predecessor.get('ours')).toEqual({ user: 'bob' });
});
