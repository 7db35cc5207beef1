'use strict';

// Preloaded into express-session's own tests: puts this package's store in the place of MemoryStore.

const Module = require('node:module');
const { RedisStore } = require('../..');

const load = Module._load;
let count = 0;
let Store;

// express-session requires its MemoryStore by this name. The tests compare stores with the `Store` of their own copy.
Module._load = function loadStore(request, parent, ...rest) {
  if (request !== './session/memory') return load.call(this, request, parent, ...rest);
  Store ??= class MemoryStore extends RedisStore {
    constructor() {
      super({ url: process.env.REDIS_URL, prefix: `store-${process.pid}-${count++}:` });
    }
  };
  return Store;
};
