'use strict';

// Opens and closes a store, twice, and stays alive: what the addon held for it must be freed.

const { createHook } = require('node:async_hooks');
const { until } = require('../../support/until.js');

const open = new Map();
createHook({
  init: (id, type) => /RedisStore|napi/.test(type) && open.set(id, type),
  destroy: (id) => open.delete(id),
}).enable();

const { RedisStore } = require('../../..');
const { RedisStore: Native } = require('../../../lib/boundary/native.js');

const functions = [];
const { lookup } = Native.prototype;
Native.prototype.lookup = function (...args) {
  const made = lookup.apply(this, args);
  functions.push(new WeakRef(made));
  return made;
};

async function main(url) {
  const stores = [];
  for (const cache of [false, true]) {
    const store = new RedisStore({ url, cache });
    stores.push(store);
    await store.set('abc', { n: 1 });
    await store.get('abc');
    await store.close();
    await until(() => {
      globalThis.gc();
      return open.size === 0 && functions.every((made) => made.deref() === undefined);
    });
  }
  console.log('nothing open', stores.map(({ status }) => status).join());
}

main(...process.argv.slice(2));
