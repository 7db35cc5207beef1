'use strict';

// Calls methods of a store for the parent process, and sends it the error of each, or null.

const { RedisStore } = require('../../..');

const store = new RedisStore(JSON.parse(process.argv[2]));
store.on('error', () => {});

process.on('message', async ([method, args]) => {
  try {
    await store[method](...args);
    process.send(null);
  } catch (error) {
    process.send(String(error));
  }
});
process.on('disconnect', () => store.close());
