'use strict';

const { isDeepStrictEqual } = require('node:util');
const { Cookie } = require('express-session');
const { useRedis } = require('../support/redis.js');
const { closeAll, openStore } = require('../support/stores.js');
const { liveSession } = require('../support/sessions.js');
const { until } = require('../support/until.js');
const { newVisitor, startApp, stopAll } = require('./processes.js');

const redis = useRedis();
afterEach(async () => {
  await stopAll();
  await closeAll();
});

const OURS = 'connect-redis-native';
const MINUTE = 60_000;

/** Makes the expiry of the visitor's last save pass while the key stays alive, as after visits that touch it. */
async function endStoredExpiry(visitor) {
  const key = `sess:${visitor.id}`;
  const session = await redis.stored(key);
  session.cookie.expires = new Date(Date.now() - 10_000).toISOString();
  await redis.command('SET', key, JSON.stringify(session), 'PX', MINUTE);
}

describe.each([OURS, 'connect-redis 8.1', 'connect-redis 10'])('two Express processes on %s', (kind) => {
  const start = (storeOptions, sessionOptions) =>
    Promise.all(
      [1, 2].map(() =>
        startApp({
          kind,
          url: redis.server.url,
          storeOptions,
          sessionOptions: { rolling: true, cookie: { maxAge: MINUTE }, ...sessionOptions },
        }),
      ),
    );

  test('a session kept alive by visits survives an explicit save in a request', async () => {
    const [one, other] = await start();
    const visitor = newVisitor();
    await one.get('/keep?user=ann', visitor);
    await endStoredExpiry(visitor);
    expect(await other.body('/look', visitor)).toMatchObject({ user: 'ann' });

    await one.get('/save', visitor);
    const lost = (await redis.keys()).length === 0;
    const { user } = await other.body('/look', visitor);

    expect({ lost, user }).toEqual(
      kind === OURS ? { lost: false, user: 'ann' } : { lost: true, user: undefined },
    );
  });

  test('an app that reads the expiry of a session sees that of the last visit', async () => {
    const [one, other] = await start({}, { cookie: { maxAge: MINUTE } });
    const visitor = newVisitor();
    await one.get('/keep?user=ann', visitor);
    await redis.command('PEXPIRE', `sess:${visitor.id}`, 20_000);

    const { expires, maxAge } = await other.body('/look', visitor);

    const isInForce = Math.abs(maxAge - 20_000) < 5000 && Math.abs(Date.parse(expires) - Date.now()) < 30_000;
    expect(isInForce).toBe(kind === OURS);
  });

  test('a session that the app ends by its cookie is deleted', async () => {
    const [one, other] = await start();
    const visitor = newVisitor();
    await one.get('/keep?user=ann', visitor);
    await other.get('/end-by-cookie', { ...visitor });

    expect(await redis.keys()).toEqual([]);
    expect((await one.body('/look', visitor)).user).toBeUndefined();
  });
});

/** Stores a session whose text says that it expires in `saved` ms, and whose key has `left` ms (null: no expiry). */
async function put(id, { saved, left, maxAge = MINUTE, text = JSON.stringify, isNumber = false }) {
  const expires = new Date(Date.now() + saved);
  const cookie = { originalMaxAge: maxAge, expires: isNumber ? expires.getTime() : expires, path: '/' };
  const lifetime = left === null ? [] : ['PX', left];
  await redis.command('SET', `sess:${id}`, text({ cookie, user: 'ann' }), ...lifetime);
}

const expiresIn = ({ cookie: { expires } }) => new Date(expires).getTime() - Date.now();
/** The time that storing and reading may take. */
const MOMENT = 5000;
const about = (ms) => ({
  asymmetricMatch: (value) => Math.abs(value - ms) < MOMENT,
  toAsymmetricMatcher: () => `about ${ms}`,
});

const serializer = {
  stringify: (value) => Buffer.from(JSON.stringify(value)).toString('base64'),
  parse: (text) => JSON.parse(Buffer.from(text, 'base64').toString()),
};
const reviving = {
  stringify: JSON.stringify,
  parse: (text) => JSON.parse(text, (key, value) => (key === 'expires' && value ? new Date(value) : value)),
};
/** A serializer of an app that works with `Cookie` objects. */
const makingCookies = {
  stringify: JSON.stringify,
  parse(text) {
    const session = reviving.parse(text);
    const { originalMaxAge } = session.cookie ?? {};
    if (session.cookie) session.cookie = Object.assign(new Cookie(session.cookie), { originalMaxAge });
    return session;
  },
};

describe.each([
  ['JSON', {}],
  ['a serializer', { serializer }],
  [
    'an asynchronous serializer',
    { serializer: { ...serializer, parse: async (text) => serializer.parse(text) } },
  ],
  ['a serializer that makes Dates', { serializer: reviving }],
  ['a serializer that makes Cookies', { serializer: makingCookies }],
  ['a ttl function that follows the cookie', { ttl: ({ cookie }) => cookie.maxAge / 1000 }],
  ['disableTouch', { disableTouch: true }],
  ['touchAfter', { touchAfter: 10 }],
  ['the cache', { cache: true }],
  ["onConflict: 'reject'", { onConflict: 'reject' }],
])('the expiry that `get` returns, with %s', (_how, options) => {
  let store;
  const { stringify: text, parse } = options.serializer ?? JSON;
  const returnsDates = [reviving, makingCookies].includes(options.serializer);
  beforeEach(async () => {
    store = await openStore('url', redis.port, options);
  });

  test.each([
    ['a touch has moved it', { saved: 10_000, left: MINUTE }, MINUTE],
    ['a touch has moved it, and the stored one is over', { saved: -10_000, left: MINUTE }, MINUTE],
    ['it was shortened', { saved: MINUTE, left: 30_000 }, 30_000],
    ['nothing has moved it', { saved: MINUTE, left: MINUTE }, MINUTE],
    ['there is none in Redis', { saved: -10_000, left: null }, MINUTE],
    ['there is none in Redis, and the stored one is to come', { saved: 10_000, left: null }, 10_000],
    ['the app has ended it, and there is none in Redis', { saved: -10_000, left: null, maxAge: -1 }, -10_000],
  ])('`get` returns the expiry in force: %s', async (_what, stored, expected) => {
    await put('abc', { ...stored, text });

    const session = await store.get('abc');

    expect(expiresIn(session)).toEqual(about(expected));
    expect(typeof session.cookie.expires).toBe(returnsDates ? 'object' : 'string');
    expect(session).toMatchObject({
      user: 'ann',
      cookie: { path: '/', originalMaxAge: stored.maxAge ?? MINUTE },
    });
    const [listed] = await store.all();
    expect(expiresIn(listed)).toEqual(about(expected));
  });

  test('`get` returns the expiry as a number when it was stored as one', async () => {
    await put('abc', { saved: -10_000, left: MINUTE, text, isNumber: true });
    const session = await store.get('abc');
    expect(expiresIn(session)).toEqual(about(MINUTE));
    expect(typeof session.cookie.expires).toBe(returnsDates ? 'object' : 'number');
    const [listed] = await store.all();
    expect(expiresIn(listed)).toEqual(about(MINUTE));
  });

  test('`get` returns the stored text unchanged while its expiry is right', async () => {
    // On a busy machine, the key may be set so late that its expiry differs.
    await until(async () => {
      await put('abc', { saved: MINUTE, left: MINUTE, text });
      const raw = await redis.command('GET', 'sess:abc');
      return isDeepStrictEqual(await store.get('abc'), await parse(String(raw)));
    });
  });

  test.each(['{"user":"ann"}', '{"cookie":null,"user":"ann"}', '{"cookie":{"expires":null},"user":"ann"}'])(
    '`get` returns a session without an expiry unchanged: %s',
    async (json) => {
      await redis.command('SET', 'sess:abc', text(JSON.parse(json)), 'PX', MINUTE);
      expect(await store.get('abc')).toEqual(await parse(text(JSON.parse(json))));
    },
  );
});

test('`get` reads a text with two cookies as JSON.parse does', async () => {
  const store = await openStore('url', redis.port);
  const text = '{"cookie":{"expires":"2020-01-01T00:00:00.000Z"},"cookie":null,"user":"ann"}';
  await redis.command('SET', 'sess:abc', text, 'PX', MINUTE);
  expect(await store.get('abc')).toEqual({ cookie: null, user: 'ann' });
});

test('`get` returns the stored expiry when Redis permits neither PTTL nor TTL', async () => {
  const store = await openStore('url', redis.port);
  await put('abc', { saved: 10_000, left: MINUTE });
  await redis.command('ACL', 'SETUSER', 'default', '-pttl');
  try {
    // TTL is the fallback.
    expect(expiresIn(await store.get('abc'))).toEqual(about(MINUTE));
    await redis.command('ACL', 'SETUSER', 'default', '-ttl');
    expect(expiresIn(await store.get('abc'))).toEqual(about(10_000));
  } finally {
    await redis.command('ACL', 'SETUSER', 'default', '+pttl', '+ttl');
  }
});

describe('with a ttl function', () => {
  test("`get` returns the cookie's expiry at the last touch when a ttl function ignores the cookie", async () => {
    const store = await openStore('url', redis.port, { ttl: () => 3600 });
    // Touched 20 s ago: the key has 3580 s left, the cookie 40 s.
    await put('abc', { saved: 5000, left: 3_580_000 });
    expect(expiresIn(await store.get('abc'))).toEqual(about(40_000));
  });

  test('`get` returns no later expiry than the cookie allows when the ttl function is shorter', async () => {
    const store = await openStore('url', redis.port, { ttl: () => 10 });
    await put('abc', { saved: 5000, left: 3_600_000 });
    expect(expiresIn(await store.get('abc'))).toEqual(about(MINUTE));
  });

  test.each([
    [
      'throws',
      () => {
        throw new Error('no ttl');
      },
    ],
    ['returns no number', () => 'soon'],
  ])('`get` returns the stored expiry when the ttl function %s', async (_what, ttl) => {
    const store = await openStore('url', redis.port, { ttl });
    await put('abc', { saved: 5000, left: MINUTE });
    expect(expiresIn(await store.get('abc'))).toEqual(about(5000));
  });
});

describe('a session that outlived its cookie while a request held it', () => {
  const load = (store) =>
    new Promise((resolve, reject) => {
      store.load('abc', (error, session) => (error ? reject(error) : resolve(session)));
    });

  test.each([
    ['set', {}],
    ['touch', {}],
    ['set', { ttl: ({ cookie }) => cookie.maxAge / 1000 }],
    ['touch', { ttl: ({ cookie }) => cookie.maxAge / 1000 }],
  ])('%s renews a loaded session that outlived its cookie, options: %p', async (method, options) => {
    const store = await openStore('url', redis.port, options);
    await put('abc', { saved: MINUTE, left: MINUTE });
    const session = await load(store);
    session.cookie.expires = new Date(Date.now() - 1000);
    session.cookie.originalMaxAge = MINUTE;

    await store[method]('abc', session);

    expect(await redis.lifetime('sess:abc')).toEqual(about(MINUTE));
    expect(expiresIn(session)).toEqual(about(MINUTE));
  });

  test.each([
    ['maxAge', -1],
    ['maxAge', 0],
    ['expires', new Date(1)],
  ])('a loaded session is destroyed when the app ends it by cookie.%s = %p', async (field, value) => {
    const store = await openStore('url', redis.port);
    await put('abc', { saved: MINUTE, left: MINUTE });
    const session = await load(store);
    session.cookie[field] = value;

    await store.set('abc', session);

    expect(await redis.keys()).toEqual([]);
  });

  test.each(['overwrite', 'merge'])(
    'a session that the app ended by its cookie is stored again when it sets a lifetime, onConflict: %s',
    async (onConflict) => {
      const store = await openStore('url', redis.port, { onConflict });
      await put('abc', { saved: MINUTE, left: MINUTE });
      const session = await load(store);
      for (const method of ['set', 'touch']) {
        session.cookie.maxAge = 0;
        await store[method]('abc', session);
        expect(await redis.keys()).toEqual([]);

        session.cookie.maxAge = MINUTE;
        await store.set('abc', session);
        expect(await redis.lifetime('sess:abc')).toEqual(about(MINUTE));
      }
      // A destroy by anyone else is final.
      await redis.command('DEL', 'sess:abc');
      await store.set('abc', session);
      expect(await redis.keys()).toEqual([]);
    },
  );

  test('`set` destroys a session that outlived its cookie and was not loaded', async () => {
    const store = await openStore('url', redis.port);
    const session = liveSession('abc', {}, { maxAge: MINUTE });
    session.cookie.expires = new Date(Date.now() - 1000);
    session.cookie.originalMaxAge = MINUTE;
    await put('abc', { saved: MINUTE, left: MINUTE });

    await store.set('abc', session);

    expect(await redis.keys()).toEqual([]);
  });
});

test('with @fastify/session, a session kept alive in Redis is not treated as expired', async () => {
  const app = await startApp({ url: redis.server.url }, 'fastify.js');
  const visitor = newVisitor();
  await app.get('/keep?user=ann', visitor);
  await endStoredExpiry(visitor);

  expect(await app.body('/look', visitor)).toMatchObject({ user: 'ann' });
});

test('with @fastify/session, a request longer than the lifetime does not destroy a session that others kept alive', async () => {
  // Well above the time between two visits.
  const LIFETIME_MS = 4000;
  const sessionOptions = { cookie: { secure: false, maxAge: LIFETIME_MS } };
  const app = await startApp({ url: redis.server.url, sessionOptions }, 'fastify.js');
  const visitor = newVisitor();
  await app.get('/keep?user=ann', visitor);
  const slow = await app.begin('/slow/gate?seen=1', 'gate', visitor);
  const over = Date.now() + LIFETIME_MS;
  await until(async () => {
    expect(await app.body('/look', { ...visitor })).toMatchObject({ user: 'ann' });
    return Date.now() > over;
  });

  await slow.finish();

  expect(await app.body('/look', visitor)).toMatchObject({ user: 'ann', seen: '1' });
});
