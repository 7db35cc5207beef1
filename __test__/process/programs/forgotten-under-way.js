'use strict';

// Forgets a store right after a hundred reads were issued, and says when the last is answered.

const { RedisStore } = require('../../..');

(() => {
  const forgotten = new RedisStore({ url: process.argv[2] });
  for (let i = 0; i < 100; i++)
    forgotten.get(`abc${i}`, () => {
      if (i === 99) console.log('answered');
    });
})();
globalThis.gc();
setImmediate(globalThis.gc);
