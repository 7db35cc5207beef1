'use strict';

const session = require('express-session');
const connectRedis = require('../..');
const { useRedis } = require('../support/redis.js');
const { runNode } = require('../support/run.js');
const { closeAll, keepStore } = require('../support/stores.js');

const redis = useRedis();
afterEach(closeAll);

const { RedisStore } = connectRedis;

test.each([
  ['the module', connectRedis],
  ['its default export', connectRedis.default],
  ['the class', RedisStore],
])(
  '%s called with express-session returns the class, as connect-redis up to version 6 does',
  async (_what, call) => {
    const Store = call(session);
    expect(Store).toBe(RedisStore);

    const store = keepStore(new Store({ url: redis.server.url }));
    await store.set('abc', { cookie: {} });

    expect(store).toBeInstanceOf(RedisStore);
    expect(store).toBeInstanceOf(session.Store);
    expect(store.constructor).toBe(RedisStore);
    expect(await redis.keys()).toEqual(['sess:abc']);
  },
);

test('the class that `connectRedis(session)` returns can be extended', async () => {
  class ShopStore extends connectRedis(session) {
    prefix = 'shop:';
  }
  const store = keepStore(new ShopStore({ url: redis.server.url }));
  await store.set('abc', { cookie: {} });

  expect(store.constructor).toBe(ShopStore);
  expect(store).toBeInstanceOf(RedisStore);
  expect(await redis.keys()).toEqual(['shop:abc']);
});

test.each([[undefined], [{ client: {} }], [{ url: 'redis://:secret@127.0.0.1' }], [() => {}]])(
  'RedisStore called without `new` throws an error that names `new RedisStore`: %p',
  (...args) => {
    const call = () => RedisStore(...args);

    expect(call).toThrow(expect.objectContaining({ name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' }));
    expect(call).toThrow(/new RedisStore\(/);
    expect(call).not.toThrow(/secret/);
  },
);

test.each([
  [
    '--input-type=module',
    "import connectRedis, { RedisStore } from 'connect-redis-native'; import session from 'express-session';",
  ],
  [
    '--input-type=commonjs',
    "const connectRedis = require('connect-redis-native'); const { RedisStore } = connectRedis; const session = require('express-session');",
  ],
])('`connectRedis(session)` returns RedisStore in a module with %s', async (type, imports) => {
  const program = `${imports} console.log(connectRedis(session) === RedisStore, new RedisStore() instanceof session.Store);`;

  expect(await runNode(type, '-e', program)).toMatchObject({ code: 0, stdout: 'true true', stderr: '' });
});
