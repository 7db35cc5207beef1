'use strict';

const { setImmediate: nextTurn } = require('node:timers/promises');
const v8 = require('node:v8');
const vm = require('node:vm');
const { RedisStore } = require('../..');
const { useRedis } = require('../support/redis.js');
const { closeAll, keepStore, openStore, recordCalls } = require('../support/stores.js');

const redis = useRedis();
afterEach(closeAll);

// Objects, dates, functions and errors of another realm are not instances of this one's classes.
const inAnotherRealm = (source, globals = {}) => vm.runInContext(source, vm.createContext(globals));

test('a session of another realm is stored, with the lifetime of its date', async () => {
  const store = await openStore('url', redis.port);
  const expires = Date.now() + 60_000;
  const session = inAnotherRealm('({ user: "ann", cookie: { expires: new Date(expires) } })', { expires });

  await store.set('abc', session);

  expect(await redis.stored('sess:abc')).toEqual({
    user: 'ann',
    cookie: { expires: new Date(expires).toISOString() },
  });
  const lifetime = await redis.lifetime('sess:abc');
  expect(lifetime).toBeGreaterThan(50_000);
  expect(lifetime).toBeLessThanOrEqual(60_000);
});

test('options of another realm are accepted', async () => {
  const options = inAnotherRealm(
    `({
      url: new URL(url),
      ttl: () => 60,
      serializer: { parse: (text) => JSON.parse(text.slice(1)), stringify: (session) => '!' + JSON.stringify(session) },
    })`,
    { URL, url: redis.server.url },
  );
  const store = keepStore(new RedisStore(options));

  await store.set('abc', { user: 'ann' });

  expect(String(await redis.command('GET', 'sess:abc'))).toBe('!{"user":"ann"}');
  expect(await store.get('abc')).toEqual({ user: 'ann' });
});

test('a callback of another realm is called', async () => {
  const store = await openStore('url', redis.port);
  const { called, callback } = recordCalls();
  store.get('abc', inAnotherRealm('(...args) => callback(...args)', { callback }));
  expect(await called).toEqual([null, null]);
});

test('an error of another realm is passed on unchanged', async () => {
  const store = await openStore('url', redis.port);
  const error = inAnotherRealm('new TypeError("of another realm")');
  store.ttl = () => {
    throw error;
  };
  await expect(store.set('abc', {})).rejects.toBe(error);
});

test('a store works after the garbage collection of its module, which Jest has reset', async () => {
  jest.resetModules();
  const { RedisStore: Another } = require('../..');
  const store = keepStore(new Another({ url: redis.server.url }));
  jest.resetModules();
  await store.set('abc', { user: 'ann' });

  v8.setFlagsFromString('--expose-gc');
  const collectGarbage = vm.runInNewContext('gc');
  for (let n = 0; n < 5; n++) {
    collectGarbage();
    await nextTurn();
  }

  expect(await store.get('abc')).toEqual({ user: 'ann' });
});

test('the module works when it is loaded again for each of several realms', async () => {
  const stores = [];
  for (let n = 0; n < 5; n++) {
    jest.resetModules();
    const { RedisStore: Another } = require('../..');
    stores.push(keepStore(new Another({ url: redis.server.url })));
  }

  await Promise.all(stores.map((store, n) => store.set(`abc${n}`, { n })));

  // Each reads what its neighbour has set.
  const read = await Promise.all(stores.map((store, n) => store.get(`abc${(n + 1) % 5}`)));
  expect(read.map(({ n }) => n)).toEqual([1, 2, 3, 4, 0]);
});
