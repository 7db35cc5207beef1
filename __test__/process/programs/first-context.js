'use strict';

// Creates the first store of the process, and another, each within an async context. Ends when both contexts have been
// garbage-collected while the stores stay in use.

const { AsyncLocalStorage } = require('node:async_hooks');
const { RedisStore } = require('../../..');
const { until } = require('../../support/until.js');

async function main(url) {
  const context = new AsyncLocalStorage();
  const stores = [];
  const contexts = await Promise.all(
    ['first', 'second'].map(async (user) => {
      const request = { user };
      await context.run(request, () => {
        const store = new RedisStore({ url });
        stores.push(store);
        return store.get('abc');
      });
      return new WeakRef(request);
    }),
  );
  await until(() => {
    globalThis.gc();
    return contexts.every((request) => request.deref() === undefined);
  });
  for (const store of stores) await store.get('abc');
  console.log('no contexts');
}

main(...process.argv.slice(2));
