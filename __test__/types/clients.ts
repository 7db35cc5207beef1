// Every kind of client with types, and what an app has of one.

import { GlideClient, GlideClusterClient } from '@valkey/valkey-glide';
import { type RedisClient, RedisStore } from 'connect-redis-native';
import type { RedisStore as ConnectRedis } from 'connect-redis10';
import { Cluster, Redis } from 'ioredis';
import RedisMock from 'ioredis-mock';
import { Cluster as Cluster5, Redis as Redis5 } from 'ioredis5';
import { Redis as Valkey, Cluster as ValkeyCluster } from 'iovalkey';
import { createClient, createClientPool, createCluster, createSentinel, type RedisClientType } from 'redis';
import { createClient as createClient4, createCluster as createCluster4 } from 'redis4';
import {
  createClient as createClient5,
  createCluster as createCluster5,
  createSentinel as createSentinel5,
} from 'redis5';

const sentinels = { name: 'mymaster', sentinelRootNodes: [{ host: '127.0.0.1', port: 26379 }] };

export async function clients(): Promise<RedisClient[]> {
  return [
    createClient(),
    createClient({ RESP: 3, url: 'redis://127.0.0.1:6379' }),
    createCluster({ rootNodes: [] }),
    createSentinel(sentinels),
    createClientPool(),
    await createClient().connect(),
    createClient5(),
    createCluster5({ rootNodes: [] }),
    createSentinel5(sentinels),
    createClient4(),
    createCluster4({ rootNodes: [] }),
    new Redis({ lazyConnect: true }),
    new Cluster([]),
    new Redis5({ lazyConnect: true }),
    new Cluster5([]),
    new Valkey({ lazyConnect: true }),
    new ValkeyCluster([]),
    new RedisMock(),
    await GlideClient.createClient({ addresses: [] }),
    await GlideClusterClient.createClient({ addresses: [] }),
  ];
}

export const stores = [
  new RedisStore({ client: createClient() }),
  new RedisStore({ client: createClient5() }),
  new RedisStore({ client: new Redis({ lazyConnect: true }) }),
  new RedisStore({ client: new Redis5({ lazyConnect: true }) }),
];

declare const former: ConnectRedis;
declare const declared: RedisClientType;
// biome-ignore lint/suspicious/noExplicitAny: an app without types of its client
declare const untyped: any;
export const more = [
  new RedisStore({ client: former.client }),
  new RedisStore({ client: declared }),
  new RedisStore({ client: untyped }),
  // A wrapper of the app.
  new RedisStore({ client: { sendCommand: async (args: string[]) => args.length, name: 'wrapper' } }),
  new RedisStore({ client: { call: (command: string, ...args: string[]) => [command, ...args] } }),
  new RedisStore({ client: { customCommand: (args: string[]) => args } }),
];

// The field has the methods of the app's client, as in connect-redis.
export const length: Promise<number> = new RedisStore({ client: declared }).client.dbSize();
