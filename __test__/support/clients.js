'use strict';

const { once } = require('node:events');
const { RedisStore: ConnectRedis10 } = require('connect-redis10');
const { RedisStore: ConnectRedis8 } = require('connect-redis8');
const { GlideClient, GlideClusterClient } = require('@valkey/valkey-glide');

// Every client: how to create it (not yet connected), by topology. `keyPrefix` is set if the client supports one,
// `Predecessor` if a connect-redis supports the client, `reportsEnd` if it reports that it was closed.

const nodeRedis = (name, extras) => {
  const redis = require(name);
  const later = redis.createSentinel && {
    sentinel: ({ name: group, places, password, sentinelPassword }, { keyPrefix, ...options } = {}) =>
      redis.createSentinel({
        keyPrefix,
        ...{ name: group, sentinelRootNodes: places },
        nodeClientOptions: { password, ...options },
        sentinelClientOptions: { password: sentinelPassword },
      }),
    pool: ({ places: [socket] }, options) => redis.createClientPool({ ...options, socket }),
  };
  return {
    ...extras,
    reportsEnd: true,
    make: {
      standalone: ({ places: [socket] }, options) => redis.createClient({ ...options, socket }),
      cluster: ({ places, password }, options) =>
        redis.createCluster({
          rootNodes: places.map((socket) => ({ socket })),
          defaults: { password },
          ...options,
        }),
      ...later,
    },
    async connect(client) {
      await client.on('error', () => {}).connect();
    },
    async end(client) {
      // Pools and sentinels have no other method.
      if (client.isOpen) await (client.disconnect ?? client.close).call(client);
    },
  };
};

const ioredis = (name) => {
  const Redis = require(name);
  return {
    Predecessor: ConnectRedis8,
    keyPrefix: true,
    reportsEnd: true,
    make: {
      standalone: ({ places: [place] }, options) => new Redis({ ...options, ...place, lazyConnect: true }),
      sentinel: ({ name: group, places: sentinels, password, sentinelPassword }, options) =>
        new Redis({
          ...options,
          ...{ name: group, sentinels, password, sentinelPassword },
          lazyConnect: true,
        }),
      cluster: ({ places, password }, options) =>
        new Redis.Cluster(places, { ...options, redisOptions: { password }, lazyConnect: true }),
    },
    async connect(client) {
      await client.on('error', () => {}).connect();
    },
    async end(client) {
      if (client.status === 'end') return;
      const ended = once(client, 'end');
      client.disconnect();
      await ended;
    },
  };
};

// Connects by itself with its first command.
const glide = {
  make: {
    standalone: ({ places }, options) =>
      GlideClient.createClient({ ...options, addresses: places, lazyConnect: true }),
    cluster: ({ places, password }, options) =>
      GlideClusterClient.createClient({
        ...{ ...options, addresses: places, lazyConnect: true },
        credentials: password && { password },
      }),
  },
  async connect() {},
  end(client) {
    client.close();
  },
};

const clients = {
  'redis 4': nodeRedis('redis4'),
  'redis 5': nodeRedis('redis5', { Predecessor: ConnectRedis10 }),
  'redis 6': nodeRedis('redis', { Predecessor: ConnectRedis10, keyPrefix: true }),
  'ioredis 4': ioredis('ioredis4'),
  'ioredis 5': ioredis('ioredis5'),
  'ioredis 6': ioredis('ioredis'),
  'iovalkey 0.4': ioredis('iovalkey'),
  'valkey-glide 2': glide,
};

module.exports = { clients };
