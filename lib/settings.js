'use strict';

const { usesApp } = require('./common/app-functions.js');
const { check } = require('./options.js');

/** The options that are fixed when a store is made, checked. */
function fixedOptions(options) {
  return {
    onConflict: check.onConflict(options.onConflict),
    touchAfter: check.touchAfter(options.touchAfter),
    saveDestroyed: check.saveDestroyed(options.saveDestroyed),
  };
}

/** The values of the fields that an app may change at any time, checked. */
function checkedFields(values, { onConflict }) {
  const serializer = check.serializer(values.serializer);
  check.canMerge(onConflict, serializer);
  return {
    prefix: check.prefix(values.prefix),
    ttl: check.ttl(values.ttl),
    scanCount: check.scanCount(values.scanCount),
    serializer,
    disableTTL: check.disableTTL(values.disableTTL),
    disableTouch: check.disableTouch(values.disableTouch),
  };
}

/** connect-redis's method for the lifetime of a session in seconds, which subclasses call and override. */
function getTTL(session) {
  if (typeof this.ttl === 'function') return this.ttl(session);
  const expires = session?.cookie?.expires;
  return expires ? Math.ceil((Number(new Date(expires)) - Date.now()) / 1000) : this.ttl;
}

/** The number of seconds or the function that decides lifetimes: an override of `getTTL` (`_getTTL` up to 8), or `ttl`. */
function lifetimeRule(face, ttl) {
  if (face.getTTL !== getTTL) return (session) => face.getTTL(session);
  if (face._getTTL !== getTTL) return (session) => face._getTTL(session);
  return typeof ttl === 'function' ? (session) => ttl.call(face, session) : ttl;
}

/**
 * The settings that an operation is issued with. They do not change: its reply is read with the same, whatever the
 * fields of the store say by then. For a request, they stand for its store.
 */
class Settings {
  #face;

  /**
   * @param face the object that the method was called on: the store, a copy, or a Proxy of it
   * @param fields as `checkedFields` returns them
   * @param fixed as `fixedOptions` returns them
   */
  constructor(face, fields, fixed) {
    this.#face = face;
    this.prefix = fields.prefix;
    this.ttl = lifetimeRule(face, fields.ttl);
    this.scanCount = fields.scanCount;
    this.serializer = fields.serializer;
    this.disableTTL = fields.disableTTL;
    this.disableTouch = fields.disableTouch;
    this.onConflict = fixed.onConflict;
    this.touchAfter = fixed.touchAfter;
    this.saveDestroyed = fixed.saveDestroyed;
    /** Conflicts are looked for. */
    this.isConditional = fixed.onConflict !== 'overwrite';
    /** The addon cannot decide by itself whether a stored expiry is in force. */
    this.decidesExpiry = usesApp(this);
    /** The addon reports in any case when a session ends. */
    this.isTimed = this.decidesExpiry || fixed.touchAfter > 0;
  }

  get generate() {
    return this.#face.generate;
  }

  destroy(...args) {
    return this.#face.destroy(...args);
  }

  emit(...args) {
    return this.#face.emit(...args);
  }
}

module.exports = { Settings, checkedFields, fixedOptions, getTTL };
