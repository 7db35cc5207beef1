'use strict';

const { RedisStore } = require('../..');
const { startRedis } = require('../../scripts/redis.js');
const { clients } = require('../support/clients.js');
const { startCluster } = require('../support/cluster.js');
const { startSentinel } = require('../support/sentinel.js');
const { closeAll, keepStore } = require('../support/stores.js');
const { until } = require('../support/until.js');

// Clients that emit no event when they are closed.

/** No server listens there, and no test starts one. */
const CLOSED_PORT = 1;

afterEach(closeAll);

// A client of ioredis that is disconnected between two connections stays "reconnecting", a cluster "disconnecting";
// nothing else can be observed.

const waiting = async (client) => {
  client.on('error', () => {});
  await until(() => client.status === 'reconnecting');
  return client;
};

const kinds = ['ioredis4', 'ioredis5', 'ioredis', 'iovalkey'].flatMap((name) => [
  [name, (Redis, port) => new Redis(port, '127.0.0.1', { retryStrategy: () => 60_000 })],
  [
    `a cluster of ${name}`,
    (Redis, port) => new Redis.Cluster([{ host: '127.0.0.1', port }], { clusterRetryStrategy: () => 60_000 }),
    name,
  ],
]);

describe.each(kinds)('%s, disconnected while it reconnects', (name, make, packageName = name) => {
  test.each(['native', 'client'])(
    'the store closes when its client is disconnected while it reconnects (transport: %s)',
    async (transport) => {
      const client = await waiting(make(require(packageName), CLOSED_PORT));
      const store = keepStore(new RedisStore({ client, transport, commandTimeout: 300 }));
      await expect(store.get('abc')).rejects.toMatchObject({ code: 'ERR_REDIS_UNAVAILABLE' });
      expect(store.status).not.toBe('closed');
      client.disconnect();
      if (transport === 'native') await until(() => store.status === 'closed');
      else
        await expect(store.get('abc')).rejects.toMatchObject({
          message: expect.stringContaining('the app has closed it'),
        });
    },
  );
});

const startOne = async () => {
  const server = await startRedis();
  return { server, place: { places: [{ host: '127.0.0.1', port: server.port }] } };
};

const starts = {
  standalone: startOne,
  pool: startOne,
  sentinel: async () => {
    const server = await startSentinel({ replicas: 0, sentinels: 1 });
    return { server, place: { name: server.name, places: server.addresses } };
  },
  cluster: async () => {
    const server = await startCluster({ primaries: 1, replicas: 0 });
    return { server, place: { places: server.addresses } };
  },
};

test.each([
  ['redis 4', 'cluster'],
  ['redis 5', 'sentinel'],
  ['redis 5', 'pool'],
  ['redis 6', 'pool'],
  ['valkey-glide 2', 'standalone'],
])(
  '%s, %s: the next operation after the client was closed rejects with ERR_STORE_CLOSED',
  async (name, topology) => {
    const { server, place } = await starts[topology]();
    try {
      const { make, connect, end } = clients[name];
      const client = await make[topology](place);
      await connect(client);
      const store = keepStore(new RedisStore({ client, transport: 'client' }));
      expect(await store.get('abc')).toBeNull();
      await end(client);
      await expect(store.get('abc')).rejects.toMatchObject({
        code: 'ERR_REDIS_UNAVAILABLE',
        message: expect.stringContaining('the app has closed it'),
      });
      await closeAll();
    } finally {
      await server.stop();
    }
  },
);
