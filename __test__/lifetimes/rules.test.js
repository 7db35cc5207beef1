'use strict';

const { useRedis } = require('../support/redis.js');
const { HOUR, liveSession } = require('../support/sessions.js');
const { closeAll, keepStore, openClient, openStore, styles } = require('../support/stores.js');
const { until } = require('../support/until.js');
const { RedisStore } = require('../..');
const { fakeDate } = require('./clock.js');

const redis = useRedis();
let clock;
afterEach(async () => {
  clock?.restore();
  clock = undefined;
  await closeAll();
});

const KEY = '__createdAt';
const SECOND = 1000;
const open = (options) => openStore('url', redis.port, { maxLifetime: 60, ...options });
const load = (store) => styles.callback(store, 'load', 'abc');
const put = (session) =>
  redis.command('SET', 'sess:abc', JSON.stringify({ cookie: {}, ...session }), 'PX', HOUR);

describe.each(['reject', 'merge'])('onConflict: %s', (onConflict) => {
  test('a creation time that another process has added meanwhile is no conflict, and stays', async () => {
    const [store, other] = await Promise.all([open({ onConflict }), open()]);
    await put({ user: 'ann' });
    const session = await load(store);
    const earlier = Date.now() - 10 * SECOND;
    await put({ user: 'ann', [KEY]: earlier });
    await other.touch('abc', liveSession('abc', {}, {}));
    session.count = 1;
    expect(await store.set('abc', session)).toBeNull();
    expect(await redis.stored('sess:abc')).toMatchObject({ user: 'ann', count: 1, [KEY]: earlier });
    expect(await redis.lifetime('sess:abc')).toBeLessThanOrEqual(50 * SECOND);
  });

  test('a stored session that is over is no conflict', async () => {
    const store = await open({ onConflict });
    await put({ user: 'old', [KEY]: Date.now() - HOUR });
    expect(await store.set('abc', liveSession('abc', { user: 'new' }))).toBeNull();
    expect(await redis.stored('sess:abc')).toMatchObject({ user: 'new' });
  });
});

test('a merge keeps the creation time, and what both requests have added', async () => {
  const store = await open({ onConflict: 'merge' });
  await store.set('abc', liveSession('abc', { user: 'ann' }));
  const { [KEY]: createdAt } = await redis.stored('sess:abc');
  const [one, two] = [await load(store), await load(store)];
  one.one = 1;
  two.two = 2;
  two[KEY] = Date.now() + HOUR;
  await store.set('abc', one);
  await store.set('abc', two);
  expect(await redis.stored('sess:abc')).toMatchObject({ one: 1, two: 2, [KEY]: createdAt });
});

test('a function of onConflict cannot change the creation time', async () => {
  const store = await open({ onConflict: (_base, theirs, mine) => ({ ...theirs, n: mine.n, [KEY]: 1 }) });
  await store.set('abc', liveSession('abc'));
  const { [KEY]: createdAt } = await redis.stored('sess:abc');
  const session = await load(store);
  session.n = 1;
  await put({ other: true, [KEY]: createdAt });
  await store.set('abc', session);
  expect(await redis.stored('sess:abc')).toMatchObject({ n: 1, other: true, [KEY]: createdAt });
});

test('a newer session that is stored while `get` finds the old one over is not deleted', async () => {
  const client = await openClient('redis6', redis.port);
  const store = keepStore(new RedisStore({ client, transport: 'client', maxLifetime: 60 }));
  await put({ user: 'old', [KEY]: Date.now() - HOUR });
  const { sendCommand } = client;
  let corrections = 0;
  client.sendCommand = async (args, ...rest) => {
    if (args.includes('PX') || /^EVAL/.test(args[0])) {
      corrections++;
      await put({ user: 'new' });
    }
    return Reflect.apply(sendCommand, client, [args, ...rest]);
  };
  expect(await store.get('abc')).toBeNull();
  await until(() => corrections > 0);
  client.sendCommand = sendCommand;
  expect(await store.get('abc')).toMatchObject({ user: 'new' });
  expect(await redis.lifetime('sess:abc')).toBeGreaterThan(SECOND);
});

test('a session that connect-redis saves again after its end stays over', async () => {
  const store = await open();
  const over = { user: 'old', [KEY]: Date.now() - HOUR };
  await put(over);
  expect(await store.get('abc')).toBeNull();
  await put({ ...over, count: 1 });
  expect(await store.get('abc')).toBeNull();
  await until(async () => (await redis.keys()).length === 0);
});

test('setting the clock back does not prolong a session that the process knows', async () => {
  clock = fakeDate();
  const store = await open({ maxLifetime: 0.3 });
  await store.set('abc', liveSession('abc', {}, {}));
  const begin = performance.now();
  clock.step(-HOUR);
  while (performance.now() - begin < 250) {
    const session = await load(store);
    if (session === undefined) break;
    session.n = 1;
    await store.set('abc', session);
    await store.touch('abc', session);
  }
  expect(await redis.lifetime('sess:abc')).toBeLessThanOrEqual(300);
  await until(async () => (await load(store)) === undefined);
});

test('a creation time in the future is replaced by a touch', async () => {
  const store = await open();
  await put({ [KEY]: Date.now() + HOUR });
  const session = await load(store);
  await store.touch('abc', session);
  const { [KEY]: createdAt } = await redis.stored('sess:abc');
  expect(createdAt).toBeLessThanOrEqual(Date.now());
  expect(await redis.lifetime('sess:abc')).toBeLessThanOrEqual(60 * SECOND);
});

test('text that JavaScript cannot represent is kept when a touch adds the creation time', async () => {
  const store = await open();
  const text = '{"cookie":{},"big":12345678901234567890,"a":1e400}';
  await redis.command('SET', 'sess:abc', text);
  await store.touch('abc', liveSession('abc', {}, {}));
  const stored = String(await redis.command('GET', 'sess:abc'));
  expect(stored).toMatch(/^\{"cookie":\{\},"big":12345678901234567890,"a":1e400,"__createdAt":\d+\}$/);
});

test.each([
  ['no JSON', 'x'],
  ['an array', '[]'],
  ['not UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])],
])('a touch does not prolong a value that cannot have a creation time: %s', async (_what, value) => {
  const store = await open();
  await redis.command('SET', 'sess:abc', value, 'PX', 5000);
  expect(await store.touch('abc', liveSession('abc', {}, {}))).toBeNull();
  expect(await redis.command('GET', 'sess:abc')).toEqual(Buffer.from(value));
  expect(await redis.lifetime('sess:abc')).toBeLessThanOrEqual(5000);
});

test('disableTouch leaves the lifetime, but a touch still adds the creation time', async () => {
  const store = await open({ disableTouch: true, maxLifetime: 7200 });
  await put({ user: 'ann' });
  await redis.command('PEXPIRE', 'sess:abc', 5000);
  const session = await load(store);
  await store.touch('abc', session);
  expect((await redis.stored('sess:abc'))[KEY]).toBeGreaterThan(0);
  expect(await redis.lifetime('sess:abc')).toBeLessThanOrEqual(5000);
});

test('a plain object without a creation time is a new session at each save', async () => {
  const store = await open();
  await store.set('abc', { cookie: {}, [KEY]: Date.now() - 59 * SECOND });
  await store.set('abc', { cookie: {} });
  expect(await redis.lifetime('sess:abc')).toBeGreaterThan(30 * SECOND);
  const object = Object.freeze({ cookie: {}, n: 1 });
  await store.set('abc', object);
  expect(object).not.toHaveProperty(KEY);
  expect(await redis.stored('sess:abc')).toMatchObject({ n: 1, [KEY]: expect.any(Number) });
});

test('createdAtKey names the key', async () => {
  const store = await open({ createdAtKey: 'since' });
  await store.set('abc', liveSession('abc'));
  expect(await redis.stored('sess:abc')).toHaveProperty('since');
  expect(store).toMatchObject({ createdAtKey: 'since', maxLifetime: 60, idleTimeout: undefined });
});

test.each([
  [{ maxLifetime: 0 }, 'ERR_OUT_OF_RANGE'],
  [{ maxLifetime: 'long' }, 'ERR_INVALID_ARG_TYPE'],
  [{ idleTimeout: -1 }, 'ERR_OUT_OF_RANGE'],
  [{ createdAtKey: 'cookie' }, 'ERR_INVALID_ARG_VALUE'],
  [{ createdAtKey: 1 }, 'ERR_INVALID_ARG_TYPE'],
])('the constructor rejects %j', (options, code) => {
  expect(() => new RedisStore(options)).toThrow(expect.objectContaining({ code }));
});

test.each([
  [() => 0, 'ERR_OUT_OF_RANGE'],
  [() => Number.NaN, 'ERR_OUT_OF_RANGE'],
  [() => '60', 'ERR_INVALID_ARG_TYPE'],
])(
  'a save fails when the maxLifetime function returns what is no lifetime: %s',
  async (maxLifetime, code) => {
    const store = await open({ maxLifetime });
    await expect(store.set('abc', liveSession('abc'))).rejects.toMatchObject({ code });
  },
);

test('a function that returns Infinity sets no limit', async () => {
  const store = await open({ maxLifetime: () => Infinity, idleTimeout: () => Infinity });
  await store.set('abc', liveSession('abc', {}, {}));
  expect(await redis.lifetime('sess:abc')).toBeGreaterThan(86_000 * SECOND);
});

test('without the options, nothing is added to sessions', async () => {
  const store = await openStore('url', redis.port);
  await store.set('abc', liveSession('abc', { user: 'ann' }));
  expect(Object.keys(await redis.stored('sess:abc'))).toEqual(['cookie', 'user']);
  expect(Object.keys(store)).not.toContain('generate');
});
