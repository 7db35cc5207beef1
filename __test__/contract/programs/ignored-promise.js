'use strict';

// Destroys a session as express-session does if the app gave no callback, on a Redis that refuses.

const { RedisStore } = require('../../..');

const store = new RedisStore({ url: process.argv[2] });
store.on('error', () => {});
store.destroy('abc', undefined);

// Fails as well, and is behind it.
store.get('abc', () => {
  setImmediate(async () => {
    console.log('alive');
    await store.close();
  });
});
