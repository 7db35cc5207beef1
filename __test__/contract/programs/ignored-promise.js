'use strict';

// Destroys a session as express-session does if the app passed no callback, on a Redis that rejects it.

const { RedisStore } = require('../../..');

const store = new RedisStore({ url: process.argv[2] });
store.on('error', () => {});
store.destroy('abc', undefined);

// Fails as well, after the destroy.
store.get('abc', () => {
  setImmediate(async () => {
    console.log('alive');
    await store.close();
  });
});
