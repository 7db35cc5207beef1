import RedisStore, { RedisStore as Named, type RedisStoreOptions } from 'connect-redis-native';

const options: RedisStoreOptions = { url: 'redis://127.0.0.1:6379', prefix: 'shop:', ttl: 60 };

export const same: typeof Named = RedisStore;
export const stores: RedisStore[] = [new RedisStore(), new RedisStore(options), new Named(options)];
