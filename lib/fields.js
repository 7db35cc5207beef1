'use strict';

const { describe, optionName, wrongType, wrongValue } = require('./common/errors.js');
const { Settings, checkedFields } = require('./settings.js');

/** Fields that an app may set at any time. */
const SETTABLE = ['prefix', 'ttl', 'scanCount', 'serializer', 'disableTTL', 'disableTouch'];
/** Fields that are fixed when the store is made. */
const FIXED = ['client', 'onConflict', 'touchAfter', 'saveDestroyed'];

/**
 * True if the fields of `face` are those that were read last. They are read for each operation, as connect-redis does:
 * an app may have redefined one as an accessor, in a subclass or by a Proxy.
 */
function hasFields(face, read) {
  try {
    return (
      read.face === face &&
      face.prefix === read.prefix &&
      face.ttl === read.ttl &&
      face.serializer === read.serializer &&
      face.disableTTL === read.disableTTL &&
      face.disableTouch === read.disableTouch &&
      face.scanCount === read.scanCount &&
      face.getTTL === read.getTTL &&
      face._getTTL === read._getTTL
    );
  } catch {
    // The operation reads it again, and fails with this error.
    return false;
  }
}

function readFields(face) {
  const { prefix, ttl, serializer, disableTTL, disableTouch, scanCount, getTTL, _getTTL } = face;
  return { face, prefix, ttl, serializer, disableTTL, disableTouch, scanCount, getTTL, _getTTL };
}

/**
 * Puts the fields of `face` in force.
 *
 * @throws what an accessor of the app throws; a TypeError or RangeError if a value cannot be used
 */
function applyFields(face, parts) {
  takeClassFields(parts.store, parts.accessors);
  const read = readFields(face);
  // An accessor has no value where its context is missing: the default prefix would be that of others.
  if (read.prefix == null) throw wrongType(optionName('prefix'), 'a string', read.prefix);
  const settings = new Settings(face, checkedFields(read, parts.fixed), parts.fixed);
  if (settings.scanCount !== parts.settings.scanCount) parts.native.setScanCount(settings.scanCount);
  parts.settings = settings;
  parts.sessions.use(settings);
  parts.bulk.use(settings);
  parts.read = read;
}

/**
 * Takes over the class fields of a subclass, as in `class ShopStore extends RedisStore { prefix = 'shop:' }`. The
 * language defines them on the instance after our constructor: they replace our accessors and call no setter.
 *
 * @param accessors the descriptors of ours
 * @throws {TypeError | RangeError} if one of them cannot be used; it then stays where it is
 */
function takeClassFields(store, accessors) {
  for (const field of FIXED) {
    const { value } = Object.getOwnPropertyDescriptor(store, field) ?? {};
    if (value !== undefined)
      throw wrongValue(`The field "${field}" of a subclass`, 'an option of the constructor', undefined);
  }
  for (const field of SETTABLE) {
    const own = Object.getOwnPropertyDescriptor(store, field);
    if (own === undefined || own.get !== undefined || own.set !== undefined || !own.configurable) continue;
    // One that is declared without a value leaves the option as it is.
    if (own.value != null) accessors[field].set.call(store, own.value);
    Object.defineProperty(store, field, accessors[field]);
  }
}

/**
 * Defines the fields on the store, so that its own keys are those of connect-redis's. A field that a subclass has an
 * accessor for stays the subclass's.
 *
 * @param accessors their descriptors
 * @param base the prototype of `RedisStore`
 */
function defineFields(store, accessors, base) {
  for (const [field, accessor] of Object.entries(accessors)) {
    let prototype = Object.getPrototypeOf(store);
    while (prototype !== base && !Object.hasOwn(prototype, field))
      prototype = Object.getPrototypeOf(prototype);
    if (prototype === base) Object.defineProperty(store, field, accessor);
  }
}

/** The own fields of a store as logs may show them: clients hold passwords. */
function shownFields(store) {
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
