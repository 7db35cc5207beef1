'use strict';

const { RedisStore, RedisStoreError } = require('./lib/store.js');

// `require('connect-redis-native')` returns the class, which carries the same exports as `import`: the named one and
// the default one. So `require('connect-redis-native')(session)` works as well.
module.exports = RedisStore;
Object.assign(RedisStore, { RedisStore, RedisStoreError, default: RedisStore });
Object.defineProperty(RedisStore, '__esModule', { value: true });
