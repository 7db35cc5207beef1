'use strict';

const { useRedis } = require('../support/redis.js');
const { liveSession } = require('../support/sessions.js');
const { closeAll, keepStore, openStore, styles } = require('../support/stores.js');
const { until } = require('../support/until.js');

const redis = useRedis();
afterEach(async () => {
  jest.useRealTimers();
  await closeAll();
});

const MINUTE = 60_000;
const load = (store) => styles.callback(store, 'load', 'abc');

/** Sets the clock that the app's dates read; Node's own timers go on. */
function setClock(time) {
  jest.useFakeTimers({
    now: new Date(time),
    doNotFake: [
      'setTimeout',
      'setInterval',
      'setImmediate',
      'clearTimeout',
      'clearInterval',
      'clearImmediate',
      'nextTick',
      'queueMicrotask',
      'performance',
      'hrtime',
    ],
  });
}

const clocks = [
  ['2020', '2020-06-01T12:00:00.000Z'],
  ['2040', '2040-06-01T12:00:00.000Z'],
];

describe.each([
  ['JSON', {}],
  ['touchAfter', { touchAfter: 1 }],
  ['a ttl function', { ttl: ({ cookie }) => cookie.maxAge / 1000 }],
  ['the cache', { cache: true }],
  ['a serializer', { serializer: { parse: (text) => JSON.parse(text), stringify: JSON.stringify } }],
])('a clock set to another year, with %s', (_name, options) => {
  test.each(clocks)("a session keeps its lifetime when JavaScript's clock says %s", async (_year, time) => {
    const store = await openStore('url', redis.port, options);
    setClock(time);
    await store.set('abc', liveSession('abc', { user: 'ann' }, { maxAge: MINUTE }));
    for (let visit = 0; visit < 3; visit++) {
      const session = await load(store);
      expect(Math.abs(session.cookie.maxAge - MINUTE)).toBeLessThan(5000);
      session.visit = visit;
      await store.set('abc', session);
      await store.touch('abc', session);
      const lifetime = await redis.lifetime('sess:abc');
      expect(lifetime).toBeGreaterThan(MINUTE - 5000);
      expect(lifetime).toBeLessThanOrEqual(MINUTE);
    }
    const [listed] = await store.all();
    expect(Math.abs(Date.parse(listed.cookie.expires) - Date.now() - MINUTE)).toBeLessThan(5000);
    for await (const { session, ttl } of store.scan()) {
      expect(Math.abs(ttl * 1000 - MINUTE)).toBeLessThan(5000);
      expect(Math.abs(Date.parse(session.cookie.expires) - Date.now() - MINUTE)).toBeLessThan(5000);
    }
  });
});

describe('a Date that was replaced by another class', () => {
  const RealDate = Date;
  afterEach(() => {
    globalThis.Date = RealDate;
  });

  /** Replaces the class as MockDate does. */
  function replaceDate(time) {
    const offset = Date.parse(time) - Date.now();
    globalThis.Date = class extends RealDate {
      constructor(...args) {
        super(...(args.length === 0 ? [RealDate.now() + offset] : args));
      }

      static now() {
        return RealDate.now() + offset;
      }
    };
  }

  test.each([
    ['before the package is loaded', true],
    ['after it is loaded', false],
  ])('a session keeps its lifetime when Date is replaced %s', async (_when, isBefore) => {
    if (isBefore) replaceDate('2020-06-01T12:00:00.000Z');
    let packages;
    jest.isolateModules(() => {
      packages = { ...require('../..'), ...require('express-session') };
    });
    if (!isBefore) replaceDate('2020-06-01T12:00:00.000Z');
    const { RedisStore, Session, Cookie } = packages;
    const store = keepStore(new RedisStore({ url: redis.server.url }));
    const cookie = new Cookie({ maxAge: MINUTE });
    await store.set('abc', new Session({ sessionID: 'abc' }, { cookie, user: 'ann' }));

    const session = await load(store);

    expect(Math.abs(session.cookie.maxAge - MINUTE)).toBeLessThan(5000);
    await store.set('abc', session);
    expect(await redis.lifetime('sess:abc')).toBeLessThanOrEqual(MINUTE);
  });
});

test('a cached session has the right expiry after the clock is set back', async () => {
  const store = await openStore('url', redis.port, { cache: true });
  await store.set('abc', liveSession('abc', { user: 'ann' }, { maxAge: MINUTE }));
  await redis.command('PEXPIRE', 'sess:abc', 30_000);
  // Waits until the invalidation has arrived and the session with the new expiry is cached.
  await until(async () => {
    const { hits } = store.cacheStats();
    const { cookie } = await store.get('abc');
    return store.cacheStats().hits > hits && Date.parse(cookie.expires) - Date.now() < 31_000;
  });
  setClock('2020-06-01T12:00:00.000Z');
  const { hits } = store.cacheStats();

  const session = await store.get('abc');

  expect(store.cacheStats().hits).toBe(hits + 1);
  expect(Math.abs(Date.parse(session.cookie.expires) - Date.now() - 30_000)).toBeLessThan(5000);
});

describe.each([
  ['JSON', {}],
  ['touchAfter', { touchAfter: 0.001 }],
  ['a serializer', { serializer: { parse: (text) => JSON.parse(text), stringify: JSON.stringify } }],
  ['the cache', { cache: true }],
])('`get` after `touch`, with %s', (_name, options) => {
  test('`get` returns the expiry in force when a touch came 100 ms after the save', async () => {
    const store = await openStore('url', redis.port, options);
    const session = liveSession('abc', { user: 'ann' }, { maxAge: MINUTE });
    await store.set('abc', session);
    const saved = session.cookie.expires.getTime();
    await new Promise((resolve) => setTimeout(resolve, 100));
    session.touch();
    await store.touch('abc', session);

    const { cookie } = await store.get('abc');

    expect(Date.parse(cookie.expires)).toBeGreaterThanOrEqual(session.cookie.expires.getTime() - 5);
    expect(Date.parse(cookie.expires)).toBeGreaterThan(saved + 90);
  });
});
