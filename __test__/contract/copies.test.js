'use strict';

const { inspect } = require('node:util');
const cloneDeep = require('lodash.clonedeep');
const { RedisStore: ConnectRedis10 } = require('connect-redis10');
const { useRedis } = require('../support/redis.js');
const { closeAll, keepStore, openClient, openStore } = require('../support/stores.js');
const { RedisStore } = require('../..');

const redis = useRedis();
afterEach(closeAll);

const SECRET = 'correct-horse-battery';

test('the own keys of a store are those of connect-redis', async () => {
  const client = await openClient('redis6', redis.port);
  const keys = (store) =>
    Object.keys(store)
      .filter((key) => !key.startsWith('_'))
      .sort();

  expect(keys(keepStore(new RedisStore({ client })))).toEqual(keys(new ConnectRedis10({ client })));
});

const fields = { prefix: 'shop:', ttl: 60, scanCount: 7, disableTTL: true, disableTouch: true };

test('a spread copy has the values of the fields', async () => {
  const client = await openClient('redis6', redis.port);
  const store = keepStore(new RedisStore({ client, ...fields }));

  expect({ ...store }).toMatchObject({ client, serializer: JSON, ...fields });
});

describe.each([
  ['Object.assign to an object with its prototype', (store) => clone(store)],
  ['Object.create', (store) => Object.create(store)],
  ['a deep clone of an object that holds it', (store) => cloneDeep({ store }).store],
])('a copy made by %s', (_how, copyOf) => {
  test('a copied store works, with its own prefix', async () => {
    const store = await openStore('url', redis.port, { prefix: 'one:' });
    await store.set('abc', { cookie: {}, of: 'one' });

    const copy = copyOf(store);
    expect(copy).toBeInstanceOf(RedisStore);
    expect(await copy.get('abc')).toMatchObject({ of: 'one' });
    copy.prefix = 'two:';

    expect(store.prefix).toBe('one:');
    expect(copy.prefix).toBe('two:');
    await Promise.all([
      copy.set('abc', { cookie: {}, of: 'two' }),
      store.set('def', { cookie: {}, of: 'one' }),
      copy.set('ghi', { cookie: {}, of: 'two' }),
    ]);
    const read = (from) => Promise.all(['abc', 'def', 'ghi'].map((id) => from.get(id)));
    const [ofStore, ofCopy] = await Promise.all([read(store), read(copy)]);
    expect(ofStore.map((found) => found?.of)).toEqual(['one', 'one', undefined]);
    expect(ofCopy.map((found) => found?.of)).toEqual(['two', undefined, 'two']);
    await copy.clear();
    expect(await redis.keys()).toEqual(['one:abc', 'one:def']);
  });

  test('closing a copied store closes the store', async () => {
    const store = await openStore('url', redis.port);
    await copyOf(store).close();

    expect(store.status).toBe('closed');
    await expect(store.get('abc')).rejects.toMatchObject({ code: 'ERR_STORE_CLOSED' });
  });
});

function clone(store) {
  return Object.assign(Object.create(Object.getPrototypeOf(store)), store);
}

test('an object that has only the prototype throws an error that names `new RedisStore`', () => {
  const empty = Object.create(RedisStore.prototype);

  for (const use of [() => empty.get('abc'), () => empty.status, () => empty.close(), () => empty.scan()])
    expect(use).toThrow(
      expect.objectContaining({
        code: 'ERR_INVALID_ARG_TYPE',
        message: expect.stringMatching(/new RedisStore/),
      }),
    );
});

test('assigning another client throws an error that says how to use one', async () => {
  const store = await openStore('redis6', redis.port);
  const { client } = store;
  const other = await openClient('redis6', redis.port);

  for (const holder of [store, Object.create(store)])
    expect(() => {
      holder.client = other;
    }).toThrow(
      expect.objectContaining({
        code: 'ERR_INVALID_ARG_VALUE',
        message: expect.stringMatching(/"client".*new RedisStore/),
      }),
    );
  store.client = client;
  expect(store.client).toBe(client);
});

test('operations reject with what to do when a class field replaces the client', async () => {
  const client = await openClient('redis6', redis.port);
  class FieldStore extends RedisStore {
    client = client;
  }

  await expect(keepStore(new FieldStore()).get('abc')).rejects.toMatchObject({
    code: 'ERR_INVALID_ARG_VALUE',
    message: expect.stringMatching(/"client".*constructor/),
  });
});

test('spies on methods and fields affect the store', async () => {
  const store = await openStore('url', redis.port);
  const get = jest.spyOn(store, 'get');
  const destroy = jest.spyOn(store, 'destroy').mockResolvedValue(null);
  const prefix = jest.spyOn(store, 'prefix', 'get').mockReturnValue('spied:');

  await store.set('abc', { cookie: {} });
  expect(await store.get('abc')).toEqual({ cookie: {} });
  await store.set('abc', { cookie: { expires: new Date(0) } });

  expect(get).toHaveBeenCalledWith('abc');
  expect(destroy).toHaveBeenCalledTimes(1);
  expect(prefix).toHaveBeenCalled();
  expect(await redis.keys()).toEqual(['spied:abc']);
  jest.restoreAllMocks();
  expect(store.prefix).toBe('sess:');
  expect(await store.get('abc')).toBeNull();
});

describe('passwords of the client are not shown', () => {
  test.each(['redis6', 'ioredis6'])(
    'inspecting and serializing a store with a %s client shows no password',
    async (kind) => {
      await redis.command('ACL', 'SETUSER', 'app', 'on', `>${SECRET}`, '~*', '&*', '+@all');
      const client = await openClient(kind, redis.port, { username: 'app', password: SECRET });
      const store = keepStore(new RedisStore({ client, prefix: 'shop:' }));

      for (const shown of [
        inspect(store),
        inspect(store, { depth: 10, showHidden: true, getters: true }),
        inspect({ store }, { depth: 10 }),
        JSON.stringify(store),
      ]) {
        expect(shown).not.toContain(SECRET);
        expect(shown).toContain('shop:');
      }
    },
  );
});
