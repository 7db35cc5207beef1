'use strict';

const { once } = require('node:events');
const net = require('node:net');
const { RedisStore } = require('../..');
const { startCluster } = require('../support/cluster.js');
const { useRedis } = require('../support/redis.js');
const { closeAll, keepStore, openStore, recordCalls } = require('../support/stores.js');
const { NEVER_MS, until } = require('../support/until.js');

const redis = useRedis();
afterEach(closeAll);

const closed = expect.objectContaining({ code: 'ERR_STORE_CLOSED' });

test('`close` waits for pending operations', async () => {
  const store = await openStore('url', redis.port, { scanCount: 1 });
  await Promise.all(Array.from({ length: 300 }, (_, i) => store.set(`abc${i}`, { i })));

  const results = Promise.all([store.get('abc7'), store.set('def', { n: 1 }), store.all(), store.length()]);
  await store.close();

  const [session, , all, length] = await results;
  expect(session).toEqual({ i: 7 });
  expect(all).toHaveLength(301);
  expect(length).toBe(301);
});

test('operations reject with ERR_STORE_CLOSED after `close`, by callback and by promise', async () => {
  const store = await openStore('url', redis.port);
  await store.close();

  for (const [method, ...args] of [
    ['get', 'abc'],
    ['set', 'abc', { a: 1 }],
    ['touch', 'abc', { a: 1 }],
    ['destroy', 'abc'],
    ['all'],
    ['ids'],
    ['length'],
    ['clear'],
  ]) {
    await expect(store[method](...args)).rejects.toEqual(closed);
    const { called, calls, callback } = recordCalls();
    store[method](...args, callback);
    expect(calls).toEqual([]);
    expect(await called).toEqual([closed, null]);
  }
});

test('repeated calls of `close` return the same promise', async () => {
  const store = await openStore('url', redis.port);
  const closing = store.close();
  expect(store.close()).toBe(closing);
  expect(await closing).toBeUndefined();
  expect(await store[Symbol.asyncDispose]()).toBeUndefined();
});

test('`close` closes the connection', async () => {
  const store = await openStore('url', redis.port);
  await store.get('abc');
  const connections = async () =>
    String(await redis.command('CLIENT', 'LIST'))
      .trim()
      .split('\n').length;
  expect(await connections()).toBe(2); // with the test's own
  await store.close();
  await until(async () => (await connections()) === 1);
});

test('`close` closes the connections to the nodes of a cluster', async () => {
  const cluster = await startCluster({ primaries: 3, replicas: 0 });
  try {
    // With the test's own.
    const connections = async () =>
      (await cluster.everywhere('CLIENT', 'LIST', 'TYPE', 'normal')).map(
        (list) => String(list).trim().split('\n').length,
      );
    const store = keepStore(new RedisStore({ cluster: cluster.addresses }));
    await until(async () => String(await connections()) === '2,2,2');
    await store.get('abc');
    await store.close();
    await until(async () => String(await connections()) === '1,1,1');
  } finally {
    await cluster.stop();
  }
});

test('`close` does not wait for a node that does not answer when no operation is pending', async () => {
  const silent = net.createServer();
  silent.listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const { port } = silent.address();
  const limits = { connectTimeout: NEVER_MS, commandTimeout: NEVER_MS };
  const store = keepStore(new RedisStore({ cluster: [{ host: '127.0.0.1', port }], ...limits }));
  const [peer] = await once(silent, 'connection');
  peer.on('error', () => {}).resume();
  try {
    await store.close();
    await until(() => peer.destroyed);
  } finally {
    peer.destroy();
    silent.close();
  }
});

test('a store whose Redis is unreachable can be closed', async () => {
  const store = new RedisStore({ url: 'redis://127.0.0.1:1' });
  await store.close();
  await expect(store.get('abc')).rejects.toEqual(closed);
});
