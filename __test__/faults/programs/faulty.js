'use strict';

// Reads and writes through a store, and reports errors and results to its parent.

const { RedisStore } = require('../../..');

const store = new RedisStore(JSON.parse(process.argv[2]));
store.on('error', (error) => process.send({ event: 'error', message: error.message }));
process.on('message', async () => {
  try {
    await store.set('abc', { n: 1 });
    process.send({ result: await store.get('abc') });
  } catch (error) {
    process.send({ failure: error.message, code: error.code });
  }
});
process.send('ready');
