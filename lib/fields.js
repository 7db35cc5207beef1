'use strict';

const { wrongValue } = require('./common/errors.js');

/** What an app may set at any time. */
const SETTABLE = ['prefix', 'ttl', 'scanCount', 'serializer', 'disableTTL', 'disableTouch'];
/** What is settled when the store is made. */
const SETTLED = ['onConflict', 'touchAfter', 'saveDestroyed'];

/**
 * Takes over what a subclass says by class fields, as in `class ShopStore extends RedisStore { prefix = 'shop:' }`.
 * The language defines them on the instance after our constructor: no setter hears of them, and they hide ours.
 *
 * @param prototype that of `RedisStore`, which has the setters
 * @throws {TypeError | RangeError} if one of them cannot be used; it then stays where it is
 */
function takeFields(store, prototype) {
  const late = SETTLED.find((field) => Object.hasOwn(store, field));
  if (late !== undefined)
    throw wrongValue(`The field "${late}" of a subclass`, 'an option of the constructor', undefined);
  for (const field of SETTABLE) {
    if (!Object.hasOwn(store, field)) continue;
    const value = store[field];
    // One that is declared without a value leaves what the constructor was given.
    if (value != null) Reflect.set(prototype, field, value, store);
    Reflect.deleteProperty(store, field);
  }
}

module.exports = { takeFields };
