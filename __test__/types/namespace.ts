import * as connectRedis from 'connect-redis-native';

const options: connectRedis.RedisStoreOptions = { disableTouch: true };

export const same: typeof connectRedis.RedisStore = connectRedis.default;
export const store: connectRedis.RedisStore = new connectRedis.RedisStore(options);
