'use strict';

const { RedisStore } = require('../..');
const { version } = require('../../package.json');
const { useRedis } = require('../support/redis.js');
const { closeAll, keepStore, openClient } = require('../support/stores.js');
const { until } = require('../support/until.js');

const redis = useRedis();
afterEach(closeAll);

const NAME = `connect-redis-native:${version}`;

const open = (options) => keepStore(new RedisStore({ url: redis.server.url, ...options }));

/** Returns the server's records of the stores' connections. */
async function connections() {
  const list = String(await redis.command('CLIENT', 'LIST'))
    .trim()
    .split('\n');
  return list.filter((line) => line.includes(` name=${NAME} `));
}

const count = async () => (await connections()).length;

test('a connection has a name and a library version', async () => {
  await open().get('abc');
  const [line] = await connections();
  expect(line).toContain(' name=connect-redis-native:');
  // Servers list the protocol since 7.0, and the library since 7.2.
  if (line.includes(' resp=')) expect(line).toContain(' resp=3');
  if (line.includes(' lib-name='))
    expect(line).toContain(` lib-name=connect-redis-native lib-ver=${version}`);
});

test('stores with the same settings share one connection, which closes with the last store', async () => {
  const stores = [open(), open(), open({ prefix: 'other:', ttl: 60, scanCount: 7 })];
  await Promise.all(stores.map((store) => store.set('abc', { n: 1 })));
  expect(await count()).toBe(1);

  await stores[0].close();
  await expect(stores[0].get('abc')).rejects.toMatchObject({ code: 'ERR_STORE_CLOSED' });
  expect(await stores[1].get('abc')).toEqual({ n: 1 });
  await stores[1].close();
  expect(await stores[2].get('abc')).toEqual({ n: 1 });
  expect(await count()).toBe(1);

  await stores[2].close();
  await until(async () => (await count()) === 0);
});

test.each(['redis6', 'ioredis6'])('a store by url and one by %s share a connection', async (kind) => {
  const client = await openClient(kind, redis.port);
  await open().get('abc');
  await open({ url: undefined, client }).get('abc');
  expect(await count()).toBe(1);
});

test('closing one of two stores twice leaves the other its connection', async () => {
  const [first, second] = [open(), open()];
  await second.get('abc');
  expect(first.close()).toBe(first.close());
  await first.close();
  expect(await second.get('abc')).toBeNull();
  expect(await count()).toBe(1);
});

test.each([
  ['database', { url: '/1' }],
  ['connectTimeout', { connectTimeout: 1234 }],
  ['commandTimeout', { commandTimeout: 1234 }],
  ['maxQueue', { maxQueue: 1234 }],
])('stores with a different %s do not share a connection', async (_option, { url = '', ...options }) => {
  await open().get('abc');
  await open({ url: redis.server.url + url, ...options }).get('abc');
  expect(await count()).toBe(2);
});

test('stores with the same credentials function share a connection, others do not', async () => {
  await redis.command('ACL', 'SETUSER', 'shop', 'on', '>pw', '~*', '+@all');
  const provide = () => ({ username: 'shop', password: 'pw' });
  await Promise.all([open({ credentials: provide }).get('abc'), open({ credentials: provide }).get('abc')]);
  expect(await count()).toBe(1);
  await open({ credentials: () => provide() }).get('abc');
  expect(await count()).toBe(2);
});

test('a store created while the last one closes opens a connection', async () => {
  for (let times = 0; times < 20; times++) {
    const first = open();
    await first.set('abc', { times });
    const closing = first.close();
    const second = open();
    expect(await second.get('abc')).toEqual({ times });
    await Promise.all([closing, second.close()]);
  }
  await until(async () => (await count()) === 0);
});
