'use strict';

const { RedisStore } = require('./lib/store.js');

// `require('connect-redis-native')` returns the class, which has what `import` gives: the named and the default export.
// So `require('connect-redis-native')(session)` works, too.
module.exports = RedisStore;
Object.assign(RedisStore, { RedisStore, default: RedisStore });
Object.defineProperty(RedisStore, '__esModule', { value: true });
