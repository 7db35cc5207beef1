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

/** Stores a session of one minute that was touched `touchedAgo` ms ago. */
async function put(touchedAgo, cookie = { expires: new Date(Date.now() + MINUTE - touchedAgo) }) {
  const session = { cookie: { originalMaxAge: MINUTE, ...cookie }, user: 'ann' };
  await redis.command('SET', 'sess:abc', JSON.stringify(session), 'PX', MINUTE - touchedAgo);
}

/** Touches as express-session does at the end of a request. Returns true if the callback was called synchronously. */
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
])('`touch` sends no command within touchAfter of the last touch, with %s', async (_how, options) => {
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

test('`touch` derives the last touch from the ttl when the cookie has no expiry', async () => {
  const store = await openStore('url', redis.port, { touchAfter: 20, ttl: 60 });
  await put(10_000, { originalMaxAge: null, expires: null });
  expect(await touch(store)).toBe(true);
  await put(30_000, { originalMaxAge: null, expires: null });
  expect(await touch(store)).toBe(false);
});

test('`touch` is sent after half of the lifetime, even if touchAfter is longer', async () => {
  const store = await openStore('url', redis.port, { touchAfter: 1000 });
  await put(25_000);
  expect(await touch(store)).toBe(true);
  await put(35_000);
  expect(await touch(store)).toBe(false);
});

test('`touch` is sent at once when the app has changed the lifetime', async () => {
  const store = await openStore('url', redis.port, { touchAfter: 20 });
  for (const maxAge of [2 * MINUTE, MINUTE / 2]) {
    await put(0);
    const session = await load(store);
    session.cookie.maxAge = maxAge;
    await store.touch('abc', session);
    expect(Math.abs((await redis.lifetime('sess:abc')) - maxAge)).toBeLessThan(5000);
  }
});

test('`touch` sends no command within touchAfter of a save or another touch', async () => {
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

test('`touch` is always sent for a session that the store has not loaded', async () => {
  const store = await openStore('url', redis.port, { touchAfter: 20 });
  await put(0);
  await store.touch('abc', { cookie: { expires: new Date(Date.now() + MINUTE) } });
  expect(await redis.calls('pexpire')).toBe(1);
});

test('`touch` is sent again after one that failed', async () => {
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

test('an Express app sends no touch for visits within touchAfter', async () => {
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
