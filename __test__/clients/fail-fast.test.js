'use strict';

const { RedisStore } = require('../..');
const { clients } = require('../support/clients.js');
const { startCluster } = require('../support/cluster.js');
const { startRedis } = require('../support/redis.js');
const { closeAll, keepStore, openClient } = require('../support/stores.js');
const { NEVER_MS, until } = require('../support/until.js');

// Clients that fail commands while Redis is down instead of queueing them: their stores do the same.

const settings = {
  redis: [{ disableOfflineQueue: true }],
  io: [{ enableOfflineQueue: false }, { maxRetriesPerRequest: 0 }, { maxRetriesPerRequest: 2 }],
};
const cases = ['redis4', 'redis5', 'redis6', 'ioredis4', 'ioredis5', 'ioredis6', 'iovalkey'].flatMap((kind) =>
  settings[kind.startsWith('redis') ? 'redis' : 'io'].flatMap((options) =>
    ['native', 'client'].map((transport) => [kind, options, transport]),
  ),
);

let server;
beforeAll(async () => {
  server = await startRedis();
});
afterEach(async () => {
  await closeAll();
  if (!server.isRunning) await server.start();
});
afterAll(() => server?.stop());

test.each(cases)(
  '%s with %j, transport: %s: operations fail at once while Redis is down, and succeed when it is back',
  async (kind, options, transport) => {
    const client = await openClient(kind, server.port, options);
    const store = keepStore(new RedisStore({ client, transport, commandTimeout: NEVER_MS }));
    // The store's own connection is still being opened.
    await store.set('abc', { n: 1 });
    await server.kill();
    await until(() => store.status === 'reconnecting');
    for (let round = 0; round < 3; round++) {
      await expect(Promise.all([store.get('abc'), store.set('abc', { n: 2 })])).rejects.toMatchObject({
        code: 'ERR_REDIS_UNAVAILABLE',
      });
    }
    await server.start();
    await until(() => store.status === 'ready');
    expect(await store.get('abc')).toBeNull();
  },
);

test.each(['redis6', 'ioredis6'])(
  "%s: the store's option maxQueue takes precedence: operations wait",
  async (kind) => {
    const options = kind === 'redis6' ? { disableOfflineQueue: true } : { enableOfflineQueue: false };
    const client = await openClient(kind, server.port, options);
    const store = keepStore(new RedisStore({ client, maxQueue: 10, commandTimeout: NEVER_MS }));
    await store.set('abc', { n: 1 });
    await server.kill();
    await until(() => store.status === 'reconnecting');
    const answer = store.set('abc', { n: 2 });
    await server.start();
    expect(await answer).toBeNull();
  },
);

test('the queue limit of a redis client applies to its store', async () => {
  const client = await openClient('redis6', server.port, { commandsQueueMaxLength: 20 });
  const store = keepStore(new RedisStore({ client, commandTimeout: 1000 }));
  await store.get('abc');
  await server.kill();
  await until(() => store.status === 'reconnecting');
  const answers = await Promise.allSettled(Array.from({ length: 22 }, () => store.set('abc', {})));
  expect(answers.map(({ reason }) => reason?.code)).toEqual([
    ...Array(20).fill('ERR_REDIS_UNAVAILABLE'),
    ...Array(2).fill('ERR_REDIS_QUEUE_FULL'),
  ]);
});

test.each([
  ['ioredis 6', { enableOfflineQueue: false }],
  ['redis 6', { defaults: { disableOfflineQueue: true } }],
])('a cluster of %s with %j: operations fail at once while it is down', async (name, options) => {
  const cluster = await startCluster({ replicas: 0 });
  try {
    const client = clients[name].make.cluster({ places: cluster.addresses }, options);
    client.on('error', () => {});
    // It need not be connected.
    const store = keepStore(new RedisStore({ client, commandTimeout: NEVER_MS }));
    expect(store.transport).toBe('native');
    await store.set('abc', { n: 1 });
    await Promise.all(cluster.nodes.map((node) => node.kill()));
    await until(() => store.status === 'reconnecting');
    await expect(store.get('abc')).rejects.toMatchObject({ code: 'ERR_REDIS_UNAVAILABLE' });
    await closeAll();
  } finally {
    await cluster.stop();
  }
});
