import connectRedis = require('connect-redis-native');

const { RedisStore } = connectRedis;

const options: connectRedis.RedisStoreOptions = { url: new URL('redis://127.0.0.1:6379') };

export const same: typeof RedisStore = connectRedis.default;
export const store: connectRedis.RedisStore = new RedisStore(options);
