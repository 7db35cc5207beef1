'use strict';

// Preloaded into express-session's own tests: puts this package's store in the place of MemoryStore.

const Module = require('node:module');
const path = require('node:path');

const load = Module._load;
/** The copy of express-session under test. */
const folder = path.resolve(process.env.EXPRESS_SESSION);

const part = (name) => require(path.join(folder, 'session', name));

let count = 0;
let MemoryStore;

Module._load = function loadReplaced(request, ...rest) {
  if (request === './session/memory') {
    MemoryStore ??= makeStore();
    return MemoryStore;
  }
  // The store builds on the copy under test, which is not complete yet when it asks for its MemoryStore.
  if (request === 'express-session')
    return { Store: part('store.js'), Cookie: part('cookie.js'), Session: part('session.js') };
  return load.call(this, request, ...rest);
};

function makeStore() {
  const { RedisStore } = require('../..');
  return class extends RedisStore {
    constructor() {
      super({ url: process.env.REDIS_URL, prefix: `store-${process.pid}-${count++}:` });
    }
  };
}
