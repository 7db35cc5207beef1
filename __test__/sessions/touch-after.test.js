'use strict';

const { useRedis } = require('../support/redis.js');
const { closeAll, openStore, recordCalls, styles } = require('../support/stores.js');
const { newVisitor, startApp, stopAll } = require('./processes.js');

const redis = useRedis();
afterEach(async () => {
  await stopAll();
  await closeAll();
});

const MINUTE = 60_000;
const load = (store) => styles.callback(store, 'load', 'abc');

/** Stores a session of a minute that was touched some ms ago. */
async function put(touchedAgo, cookie = { expires: new Date(Date.now() + MINUTE - touchedAgo) }) {
  const session = { cookie: { originalMaxAge: MINUTE, ...cookie }, user: 'ann' };
  await redis.command('SET', 'sess:abc', JSON.stringify(session), 'PX', MINUTE - touchedAgo);
}

/** As express-session does at the end of a request. */
async function touch(store) {
  const session = await load(store);
  session.touch();
  const { calls, callback, called } = recordCalls();
  store.touch('abc', session, callback);
  const isAtOnce = calls.length === 1;
  expect(await called).toEqual([null, null]);
  return isAtOnce;
}

test.each([
  ['JSON', {}],
  ['a serializer', { serializer: { parse: (text) => JSON.parse(text), stringify: JSON.stringify } }],
  ['a ttl function', { ttl: ({ cookie }) => cookie.maxAge / 1000 }],
])('touches closer together than that are answered at once, with %s', async (_how, options) => {
  const store = await openStore('url', redis.port, { touchAfter: 20, ...options });
  await put(10_000);
  expect(await touch(store)).toBe(true);
  expect(await redis.calls('pexpire')).toBe(0);
  expect(await redis.lifetime('sess:abc')).toBeLessThanOrEqual(MINUTE - 10_000);

  await put(25_000);
  expect(await touch(store)).toBe(false);
  expect(await redis.calls('pexpire')).toBe(1);
  expect(await redis.lifetime('sess:abc')).toBeGreaterThan(MINUTE - 5000);
});

test('a cookie without an expiry: the ttl decides', async () => {
  const store = await openStore('url', redis.port, { touchAfter: 20, ttl: 60 });
  await put(10_000, { originalMaxAge: null, expires: null });
  expect(await touch(store)).toBe(true);
  await put(30_000, { originalMaxAge: null, expires: null });
  expect(await touch(store)).toBe(false);
});

test('no more than half of a lifetime passes between two touches', async () => {
  const store = await openStore('url', redis.port, { touchAfter: 1000 });
  await put(25_000);
  expect(await touch(store)).toBe(true);
  await put(35_000);
  expect(await touch(store)).toBe(false);
});

test('a lifetime that the app has changed is told at once', async () => {
  const store = await openStore('url', redis.port, { touchAfter: 20 });
  for (const maxAge of [2 * MINUTE, MINUTE / 2]) {
    await put(0);
    const session = await load(store);
    session.cookie.maxAge = maxAge;
    await store.touch('abc', session);
    expect(Math.abs((await redis.lifetime('sess:abc')) - maxAge)).toBeLessThan(5000);
  }
});

test('a save, or a touch, counts as one', async () => {
  const store = await openStore('url', redis.port, { touchAfter: 20 });
  await put(30_000);
  const session = await load(store);
  session.touch();
  await store.set('abc', session);
  await store.touch('abc', session);
  expect(await redis.calls('pexpire')).toBe(0);

  await put(30_000);
  const other = await load(store);
  other.touch();
  await store.touch('abc', other);
  await store.touch('abc', other);
  expect(await redis.calls('pexpire')).toBe(1);
});

test('a session that the store has not loaded is touched each time', async () => {
  const store = await openStore('url', redis.port, { touchAfter: 20 });
  await put(0);
  await store.touch('abc', { cookie: { expires: new Date(Date.now() + MINUTE) } });
  expect(await redis.calls('pexpire')).toBe(1);
});

test('a touch that failed does not count', async () => {
  const store = await openStore('url', redis.port, { touchAfter: 20 });
  await put(30_000);
  const session = await load(store);
  session.touch();
  await redis.command('ACL', 'SETUSER', 'default', '-pexpire', '-expire');
  await expect(store.touch('abc', session)).rejects.toMatchObject({ reply: 'NOPERM' });
  await redis.command('ACL', 'SETUSER', 'default', '+pexpire', '+expire');
  await store.touch('abc', session);
  expect(await redis.lifetime('sess:abc')).toBeGreaterThan(MINUTE - 5000);
});

test('an Express app: visits within the time cost Redis no touch', async () => {
  const app = await startApp({
    kind: 'connect-redis-native',
    url: redis.server.url,
    storeOptions: { touchAfter: 20 },
    sessionOptions: { cookie: { maxAge: MINUTE } },
  });
  const visitor = newVisitor();
  await app.get('/keep?user=ann', visitor);
  for (let visit = 0; visit < 5; visit++) await app.get('/look', visitor);
  expect(await redis.calls('pexpire')).toBe(0);
  await redis.command('PEXPIRE', `sess:${visitor.id}`, 30_000);
  await app.get('/look', visitor);
  expect(await redis.lifetime(`sess:${visitor.id}`)).toBeGreaterThan(50_000);
});
