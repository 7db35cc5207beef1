'use strict';

const { RedisStore } = require('./lib/store.js');

// `require('connect-redis-native')` gives what `import` gives: the named and the default export.
module.exports = { RedisStore, default: RedisStore };
Object.defineProperty(module.exports, '__esModule', { value: true });
