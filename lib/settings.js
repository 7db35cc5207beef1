'use strict';

const { EventEmitter } = require('node:events');
const { usesAppFunctions } = require('./common/app-functions.js');
const { sessionHash } = require('./observability/session-hash.js');
const { check, checkMerge } = require('./options.js');

/** @import { Fields, FixedParts, SessionObject, Statistics } from './types.d.ts' */

/** The fields that an app may set at any time. @type {(keyof Fields)[]} */
const FIELDS = ['prefix', 'ttl', 'scanCount', 'serializer', 'disableTTL', 'disableTouch'];

/**
 * Checks the values of the fields that an app may have changed, and returns those to use.
 *
 * @param {Partial<Fields>} values
 * @param {FixedParts} fixed
 * @returns {Fields}
 */
function checkedFields(values, { onConflict, indexKeys }) {
  const checked = /** @type {any} */ ({});
  for (const field of FIELDS) checked[field] = check(field, values[field]);
  checkMerge({ onConflict, serializer: checked.serializer });
  indexKeys?.check(checked.prefix);
  return checked;
}

/**
 * Returns the lifetime of a session in seconds: connect-redis's method, which subclasses call and override.
 *
 * @this {Pick<Fields, 'ttl'>}
 * @param {SessionObject} session
 */
function getTTL(session) {
  if (typeof this.ttl === 'function') return this.ttl(session);
  const expires = session?.cookie?.expires;
  return expires ? Math.ceil((Number(new Date(expires)) - Date.now()) / 1000) : this.ttl;
}

/**
 * Returns what decides lifetimes: an override of `getTTL` (`_getTTL` up to version 8), or `ttl`.
 *
 * @type {(receiver: any, ttl: Fields['ttl']) => Fields['ttl']}
 */
function lifetimeRule(receiver, ttl) {
  if (receiver.getTTL !== getTTL) return (session) => receiver.getTTL(session);
  if (receiver._getTTL !== getTTL) return (session) => receiver._getTTL(session);
  return typeof ttl === 'function' ? (session) => ttl.call(receiver, session) : ttl;
}

/**
 * The settings that an operation is issued with. Immutable: its reply is read with the same settings, even if the
 * fields of the store have changed since. A request uses them as its store.
 */
class Settings {
  #receiver;
  #hashKey;

  /**
   * @param {any} receiver the object that the method was called on: the store, a copy, or a Proxy of it
   * @param {Fields} fields
   * @param {FixedParts} fixed
   * @param {Statistics} stats of the store
   */
  constructor(receiver, fields, fixed, stats) {
    this.#receiver = receiver;
    this.#hashKey = fixed.sessionHashKey;
    this.stats = stats;
    this.prefix = fields.prefix;
    this.ttl = lifetimeRule(receiver, fields.ttl);
    this.scanCount = fields.scanCount;
    this.serializer = fields.serializer;
    this.disableTTL = fields.disableTTL;
    this.disableTouch = fields.disableTouch;
    this.onConflict = fixed.onConflict;
    this.touchAfter = fixed.touchAfter;
    this.saveDestroyed = fixed.saveDestroyed;
    this.knownEnds = fixed.knownEnds;
    /** Saves detect conflicts. */
    this.isConditional = fixed.onConflict !== 'overwrite';
    /** Only JavaScript can decide whether a stored expiry is in force. */
    this.decidesExpiry = usesAppFunctions(this);
    /** The addon always reports when a session expires. */
    this.isTimed = this.decidesExpiry || fixed.touchAfter > 0;
  }

  get generate() {
    return this.#receiver.generate;
  }

  /** @param {unknown[]} args */
  destroy(...args) {
    return this.#receiver.destroy(...args);
  }

  /** @param {unknown[]} args */
  emit(...args) {
    return this.#receiver.emit(...args);
  }

  /** @param {string} event */
  hasListener(event) {
    // Not the receiver's own method: this is called before the callback of an operation, which must not depend on it.
    return EventEmitter.prototype.listenerCount.call(this.#receiver, event) > 0;
  }

  /** Returns the name of a session in logs, traces and events. @param {string} id */
  sessionHash(id) {
    return sessionHash(id, this.#hashKey);
  }
}

module.exports = { FIELDS, Settings, checkedFields, getTTL };
