'use strict';

// Drops a store right after calling a hundred reads, and prints when the last completes.

const { RedisStore } = require('../../..');

(() => {
  const store = new RedisStore({ url: process.argv[2] });
  for (let i = 0; i < 100; i++)
    store.get(`abc${i}`, () => {
      if (i === 99) console.log('answered');
    });
})();
globalThis.gc();
setImmediate(globalThis.gc);
