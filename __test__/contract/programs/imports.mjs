// Imports the package by its name, as an app does, in every way that an ES module can.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import * as namespace from 'connect-redis-native';
import RedisStore, { RedisStore as Named } from 'connect-redis-native';

const required = createRequire(import.meta.url)('connect-redis-native');
const later = await import('connect-redis-native');

assert.equal(RedisStore.name, 'RedisStore');
for (const other of [
  Named,
  namespace.RedisStore,
  namespace.default,
  required.RedisStore,
  required.default,
  later.RedisStore,
  later.default,
]) {
  assert.equal(other, RedisStore);
}
assert.deepEqual(Object.keys(namespace).sort(), ['RedisStore', 'RedisStoreError', 'default']);
console.log('one class');
