import { RedisStore } from 'connect-redis-native';
import { Redis } from 'ioredis';
import { Redis as Redis5 } from 'ioredis5';
import { createClient } from 'redis';
import { createClient as createClient5 } from 'redis5';

export const stores = [
  new RedisStore({ client: createClient() }),
  new RedisStore({ client: createClient5() }),
  new RedisStore({ client: new Redis({ lazyConnect: true }) }),
  new RedisStore({ client: new Redis5({ lazyConnect: true }) }),
];
