'use strict';

const { describe, optionName, wrongType, wrongValue } = require('./common/errors.js');
const { FIELDS, Settings, checkedFields } = require('./settings.js');

/** @import { Parts } from './types.d.ts' */

/** Fields that the constructor fixes. */
const FIXED = [
  'client',
  'onConflict',
  'touchAfter',
  'saveDestroyed',
  'idleTimeout',
  'maxLifetime',
  'createdAtKey',
];

/**
 * Returns true if the fields of `receiver` equal the last snapshot. They are read for each operation, as connect-redis
 * does: an app may have redefined one as an accessor, in a subclass or by a Proxy.
 *
 * @type {(receiver: any, snapshot: Parts['snapshot']) => boolean}
 */
function hasFields(receiver, snapshot) {
  try {
    return (
      snapshot.receiver === receiver &&
      receiver.prefix === snapshot.prefix &&
      receiver.ttl === snapshot.ttl &&
      receiver.serializer === snapshot.serializer &&
      receiver.disableTTL === snapshot.disableTTL &&
      receiver.disableTouch === snapshot.disableTouch &&
      receiver.scanCount === snapshot.scanCount &&
      receiver.getTTL === snapshot.getTTL &&
      receiver._getTTL === snapshot._getTTL
    );
  } catch {
    // The operation reads the field again, and fails with this error.
    return false;
  }
}

/** @param {any} receiver */
function readFields(receiver) {
  const { prefix, ttl, serializer, disableTTL, disableTouch, scanCount, getTTL, _getTTL } = receiver;
  return { receiver, prefix, ttl, serializer, disableTTL, disableTouch, scanCount, getTTL, _getTTL };
}

/**
 * Applies the fields of `receiver` to the parts of its store.
 *
 * @param {any} receiver
 * @param {Parts} parts
 * @throws the exception of an app's accessor; a TypeError or RangeError if a value is invalid
 */
function applyFields(receiver, parts) {
  takeClassFields(parts.store, parts.accessors);
  const snapshot = readFields(receiver);
  // An accessor without its context (a tenant, for example) returns nothing: the default prefix would be another's.
  if (snapshot.prefix == null) throw wrongType(optionName('prefix'), 'a string', snapshot.prefix);
  const settings = new Settings(receiver, checkedFields(snapshot, parts.fixed), parts.fixed, parts.stats);
  if (settings.scanCount !== parts.settings.scanCount) parts.outbox.setScanCount(settings.scanCount);
  parts.settings = settings;
  parts.sessions.use(settings);
  parts.bulk.use(settings);
  parts.snapshot = snapshot;
}

/**
 * Applies the class fields of a subclass, as in `class ShopStore extends RedisStore { prefix = 'shop:' }`. JavaScript
 * defines them on the instance after our constructor: they replace our accessors and call no setter.
 *
 * @param {object} store
 * @param {Parts['accessors']} accessors
 * @throws {TypeError | RangeError} if a value is invalid; that field then stays in place
 */
function takeClassFields(store, accessors) {
  for (const field of FIXED) {
    const { value } = Object.getOwnPropertyDescriptor(store, field) ?? {};
    if (value !== undefined)
      throw wrongValue(`The field "${field}" of a subclass`, 'an option of the constructor', undefined);
  }
  for (const field of FIELDS) {
    const own = Object.getOwnPropertyDescriptor(store, field);
    if (own === undefined || own.get !== undefined || own.set !== undefined || !own.configurable) continue;
    // A field that is declared without a value does not change the option.
    if (own.value != null) accessors[field].set?.call(store, own.value);
    Object.defineProperty(store, field, accessors[field]);
  }
}

/**
 * Defines the fields on the store, so that it has the same own keys as connect-redis's. An accessor that a subclass
 * defines takes precedence.
 *
 * @param {object} store
 * @param {Parts['accessors']} accessors
 * @param {object} base the prototype of `RedisStore`
 */
function defineFields(store, accessors, base) {
  for (const [field, accessor] of Object.entries(accessors)) {
    let prototype = Object.getPrototypeOf(store);
    while (prototype !== base && !Object.hasOwn(prototype, field))
      prototype = Object.getPrototypeOf(prototype);
    if (prototype === base) Object.defineProperty(store, field, accessor);
  }
}

/** Returns the own fields of a store for logs: without the client, which holds passwords. @param {any} store */
function shownFields(store) {
  /** @type {Record<string, unknown>} */
  const shown = {};
  for (const field of Object.keys(store).filter((key) => !key.startsWith('_'))) {
    try {
      const value = store[field];
      shown[field] = field === 'client' && value !== undefined ? describe(value) : value;
    } catch (error) {
      shown[field] = `[threw ${describe(error)}]`;
    }
  }
  return shown;
}

module.exports = { applyFields, defineFields, hasFields, readFields, shownFields };
