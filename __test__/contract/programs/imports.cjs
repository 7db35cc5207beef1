'use strict';

// Requires and imports the package by its name, as an app does, in every way that a CommonJS module can.

const assert = require('node:assert/strict');
const required = require('connect-redis-native');
const { RedisStore } = required;

import('connect-redis-native').then((imported) => {
  assert.equal(RedisStore.name, 'RedisStore');
  for (const other of [required.default, imported.RedisStore, imported.default]) {
    assert.equal(other, RedisStore);
  }
  // The default import that TypeScript or Babel produces when it compiles to CommonJS.
  assert.equal((required.__esModule ? required : { default: required }).default, RedisStore);
  assert.deepEqual(Object.keys(required).sort(), ['RedisStore', 'RedisStoreError', 'default']);
  console.log('one class');
});
