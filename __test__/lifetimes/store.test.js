'use strict';

const { sessionHash } = require('../../lib/observability/session-hash.js');
const { useRedis } = require('../support/redis.js');
const { HOUR, liveSession } = require('../support/sessions.js');
const { closeAll, openStore, styles } = require('../support/stores.js');
const { until } = require('../support/until.js');

const redis = useRedis();
afterEach(closeAll);

const KEY = '__createdAt';
const SECOND = 1000;
const load = (store) => styles.callback(store, 'load', 'abc');

/** Stores a session as connect-redis does, with a creation time `ageMs` ago, or without one. */
async function storeOld(ageMs, { ttl = HOUR, ...data } = {}) {
  const created = ageMs === undefined ? {} : { [KEY]: Date.now() - ageMs };
  const text = JSON.stringify({
    cookie: { originalMaxAge: null, path: '/' },
    user: 'ann',
    ...data,
    ...created,
  });
  await redis.command('SET', 'sess:abc', text, ...(ttl > 0 ? ['PX', ttl] : []));
  return text;
}

/** Records the events `expired` of a store. */
function expirations(store) {
  const events = [];
  store.on('expired', ({ operation, reason, sessionHash: hash }) => events.push({ operation, reason, hash }));
  return events;
}

const transports = [
  ['native', {}],
  ['native with cache', { cache: true }],
  ['client', { transport: 'client' }],
  [
    'native with a serializer',
    { serializer: { parse: async (text) => JSON.parse(text), stringify: JSON.stringify } },
  ],
];

describe.each(transports)('lifetimes, %s', (_name, extra) => {
  const open = (options) =>
    openStore(extra.transport === 'client' ? 'redis6' : 'url', redis.port, { ...extra, ...options });

  test('`get` returns null after the deadline, deletes the key, and the event names the reason', async () => {
    const store = await open({ maxLifetime: 60 });
    const events = expirations(store);
    await storeOld(61 * SECOND);
    expect(await store.get('abc')).toBeNull();
    await until(async () => (await redis.keys()).length === 0);
    expect(events).toEqual([{ operation: 'get', reason: 'absolute', hash: sessionHash('abc') }]);
    expect(await store.get('abc')).toBeNull();
    expect(events).toHaveLength(1);
  });

  test('a session without a creation time keeps its content when a touch adds one', async () => {
    const store = await open({ maxLifetime: 60 });
    const text = await storeOld(undefined, { big: 1.5 });
    const before = Date.now();
    const session = await load(store);
    await store.touch('abc', session);
    const { [KEY]: createdAt, ...rest } = await redis.stored('sess:abc');
    expect(rest).toEqual(JSON.parse(text));
    expect(createdAt).toBeGreaterThanOrEqual(before);
    expect(createdAt).toBeLessThanOrEqual(Date.now());
    expect(await redis.lifetime('sess:abc')).toBeLessThanOrEqual(60 * SECOND);
    await store.touch('abc', session);
    expect((await redis.stored('sess:abc'))[KEY]).toBe(createdAt);
  });

  test('a touch without a `get` before finds the stored creation time', async () => {
    const store = await open({ maxLifetime: 60 });
    await storeOld(50 * SECOND);
    await store.touch('abc', liveSession('abc'));
    expect(await redis.lifetime('sess:abc')).toBeLessThanOrEqual(10 * SECOND);
  });

  test('a touch of a missing session stores nothing', async () => {
    const store = await open({ maxLifetime: 60 });
    await store.touch('abc', liveSession('abc'));
    expect(await redis.keys()).toEqual([]);
  });

  test.each([
    ['a cookie', {}, { maxAge: HOUR }],
    ['a session cookie', {}, {}],
    ['a ttl function', { ttl: () => 3600 }, {}],
    ['disableTTL', { disableTTL: true }, {}],
    ['touchAfter', { touchAfter: 600 }, { maxAge: HOUR }],
    ['a longer idleTimeout', { idleTimeout: 3600 }, {}],
    ['a function', { maxLifetime: ({ user }) => (user ? 60 : 1) }, {}],
  ])('neither saves nor touches exceed the deadline with %s', async (_case, options, cookie) => {
    const store = await open({ maxLifetime: 60, ...options });
    const saved = liveSession('abc', { user: 'ann' }, cookie);
    await store.set('abc', saved);
    const { [KEY]: createdAt } = await redis.stored('sess:abc');
    const rest = () => createdAt + 60 * SECOND - Date.now();
    const check = async () => {
      const left = await redis.lifetime('sess:abc');
      expect(left).toBeGreaterThan(0);
      expect(left).toBeLessThanOrEqual(rest() + 50);
      const { cookie: shown } = await store.get('abc');
      if (shown.expires) expect(Date.parse(shown.expires)).toBeLessThanOrEqual(createdAt + 60 * SECOND);
    };
    await check();
    await store.touch('abc', saved);
    await check();
    const session = await load(store);
    session.touch();
    session[KEY] = Date.now() + HOUR;
    if (cookie.maxAge) expect(session.cookie.expires.getTime()).toBeLessThanOrEqual(createdAt + 60 * SECOND);
    await store.touch('abc', session);
    await check();
    session.n = 1;
    await store.set('abc', session);
    await check();
    expect((await redis.stored('sess:abc'))[KEY]).toBe(createdAt);
    const [listed] = await store.all();
    expect(listed.n).toBe(1);
  });

  test('`get` shortens the life of a key that connect-redis has prolonged', async () => {
    const store = await open({ maxLifetime: 60 });
    for (const ttl of [HOUR, 0]) {
      await storeOld(50 * SECOND, { ttl });
      expect(await store.get('abc')).toMatchObject({ user: 'ann' });
      await until(async () => {
        const left = await redis.lifetime('sess:abc');
        return left > 0 && left <= 10 * SECOND;
      });
    }
  });

  test('a save after the deadline is discarded', async () => {
    const store = await open({ maxLifetime: 60 });
    const events = expirations(store);
    const old = { ...liveSession('abc'), [KEY]: Date.now() - 61 * SECOND };
    expect(await store.set('abc', old)).toBe('discarded');
    expect(await redis.keys()).toEqual([]);
    await until(() => events.length === 1);
    expect(events[0]).toMatchObject({ operation: 'set', reason: 'absolute' });
  });

  test('`all` and `scan` skip sessions that are over', async () => {
    const store = await open({ maxLifetime: 60 });
    await storeOld(61 * SECOND);
    await store.set('new', liveSession('new', { n: 1 }));
    const all = await store.all();
    expect(all.map(({ id }) => id)).toEqual(['new']);
    expect(all.corrupt).toBe(0);
    const scanned = [];
    for await (const { id, ttl } of store.scan()) scanned.push([id, ttl <= 60]);
    expect(scanned).toEqual([['new', true]]);
  });

  test.each([
    ['a session cookie', {}, 60],
    ['a longer cookie', { maxAge: HOUR }, 60],
    ['a shorter cookie', { maxAge: 30 * SECOND }, 30],
  ])('idleTimeout sets the lifetime of the key with %s', async (_case, cookie, expected) => {
    const store = await open({ idleTimeout: 60 });
    const session = liveSession('abc', {}, cookie);
    const check = async () => {
      const left = await redis.lifetime('sess:abc');
      expect(left).toBeLessThanOrEqual(expected * SECOND);
      expect(left).toBeGreaterThan((expected - 10) * SECOND);
    };
    await store.set('abc', session);
    await check();
    await redis.command('PEXPIRE', 'sess:abc', 5000);
    await store.touch('abc', session);
    await check();
    expect(await redis.stored('sess:abc')).not.toHaveProperty(KEY);
    const { cookie: shown } = await store.get('abc');
    if (cookie.maxAge)
      expect(Date.parse(shown.expires) - Date.now()).toBeGreaterThan(cookie.maxAge - 10 * SECOND);
  });

  test('idleTimeout longer than the default ttl takes its place', async () => {
    const store = await open({ idleTimeout: 7 * 86400 });
    await store.set('abc', liveSession('abc', {}, {}));
    expect(await redis.lifetime('sess:abc')).toBeGreaterThan(6 * 86400 * SECOND);
  });

  test('a session that was not used is reported as idle', async () => {
    const store = await open({ idleTimeout: 0.05, maxLifetime: 60 });
    const events = expirations(store);
    await store.set('abc', liveSession('abc', {}, {}));
    await until(async () => (await redis.keys()).length === 0);
    expect(await store.get('abc')).toBeNull();
    await until(() => events.length === 1);
    expect(events[0]).toMatchObject({ operation: 'get', reason: 'idle' });
  });

  test('a session whose key ended at the deadline is reported as absolute', async () => {
    const store = await open({ maxLifetime: 0.05 });
    const events = expirations(store);
    await store.set('abc', liveSession('abc', {}, {}));
    await until(async () => (await redis.keys()).length === 0);
    expect(await store.get('abc')).toBeNull();
    await until(() => events.length === 1);
    expect(events[0]).toMatchObject({ operation: 'get', reason: 'absolute' });
  });

  test('`get` fails with the error of a maxLifetime function', async () => {
    const store = await open({
      maxLifetime: () => {
        throw new Error('no lifetime');
      },
    });
    await storeOld(1);
    await expect(store.get('abc')).rejects.toThrow('no lifetime');
  });
});
