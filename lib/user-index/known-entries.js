'use strict';

const { elapsed } = require('../common/timers.js');

/** The number of sessions after which the older half is forgotten: a few megabytes. */
const MAX_YOUNG = 16_384;
/** An entry lives at least this many times as long as its session, so that most touches need not prolong it. */
const LIFE_FACTOR = 2;
/** The part of an entry's life that counts, as clocks may differ in speed. */
const CERTAIN = 0.95;

/** @typedef {{ keys: string[], date: number, at: number, ttl: number }} Known */

/** @type {(one: string[], other: string[]) => boolean} */
function areEqual(one, other) {
  return one.length === other.length && one.every((key, at) => key === other[at]);
}

/** The index entries that this process has asserted recently, by session. */
class KnownEntries {
  /** @type {Map<string, Known>} */
  #young = new Map();
  /** @type {Map<string, Known>} */
  #old = new Map();

  /** @param {string} key the key of the session */
  #get(key) {
    return this.#young.get(key) ?? this.#old.get(key);
  }

  /** @type {(key: string, keys: string[], ttl: number) => void} */
  add(key, keys, ttl) {
    this.#young.set(key, { keys, date: Date.now(), at: elapsed(), ttl });
    if (this.#young.size < MAX_YOUNG) return;
    this.#old = this.#young;
    this.#young = new Map();
  }

  /** Forgets the entries of a session, and returns the keys of their indexes. @param {string} key */
  remove(key) {
    const known = this.#get(key);
    this.#young.delete(key);
    this.#old.delete(key);
    return known?.keys ?? [];
  }

  /**
   * Returns true if the session has entries in these indexes that outlive it when its lifetime of `ttl` ms (0: endless)
   * starts now.
   *
   * @type {(key: string, keys: string[], ttl: number) => boolean}
   */
  cover(key, keys, ttl) {
    const known = this.#get(key);
    if (known === undefined || !areEqual(known.keys, keys)) return false;
    if (ttl === 0 || known.ttl === 0) return known.ttl === 0;
    // The clock may have been set back, or stopped while the machine slept.
    const age = Math.max(Date.now() - known.date, elapsed() - known.at);
    return age + ttl <= LIFE_FACTOR * CERTAIN * known.ttl;
  }
}

/**
 * Returns the life of an entry in ms, 0 for an endless one. The write that follows the assertion may reach Redis late, by
 * the timeout of each, and the session's lifetime begins only then.
 *
 * @param {number} ttl the lifetime of the session in ms
 * @param {number} timeout of operations, in ms
 */
function lifeOf(ttl, timeout) {
  return ttl === 0 ? 0 : Math.ceil(LIFE_FACTOR * ttl + 2 * timeout);
}

module.exports = { KnownEntries, lifeOf };
