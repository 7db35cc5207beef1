'use strict';

// Preloaded into the test suites of express-session and @fastify/session: replaces their memory stores with this
// package's store.

const fs = require('node:fs');
const Module = require('node:module');
const path = require('node:path');

const load = Module._load;
/** The copy of the package under test. */
const folder = path.resolve(process.env.SESSION_PACKAGE);
/** The memory stores of express-session, of @fastify/session, and of the latter's tests. */
const MEMORY_STORES = ['session/memory', 'lib/store', 'test/TestStore'].map((name) =>
  path.join(folder, name),
);

const part = (name) => require(path.join(folder, 'session', name));

let count = 0;
let MemoryStore;

Module._load = function loadReplaced(request, parent, ...rest) {
  if (request.startsWith('.') && parent?.path && MEMORY_STORES.includes(path.resolve(parent.path, request))) {
    MemoryStore ??= makeStore();
    return MemoryStore;
  }
  // The store builds on the copy under test, which is not complete yet when it asks for its MemoryStore.
  if (request === 'express-session' && fs.existsSync(path.join(folder, 'session')))
    return { Store: part('store.js'), Cookie: part('cookie.js'), Session: part('session.js') };
  return load.call(this, request, parent, ...rest);
};

function makeStore() {
  const { RedisStore } = require('../..');
  return class extends RedisStore {
    static Store = this;
    static MemoryStore = this;

    constructor() {
      super({ url: process.env.REDIS_URL, prefix: `store-${process.pid}-${count++}:` });
    }
  };
}
