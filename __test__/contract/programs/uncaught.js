'use strict';

// Throws from a callback, without a handler for it.

const { RedisStore } = require('../../..');

const store = new RedisStore({ url: process.argv[2] });
store.get('abc', () => {
  console.log('called');
  throw new Error('thrown by the callback');
});
