'use strict';

const { tickTime } = require('../common/timers.js');
const { PerPrefix } = require('../session/per-prefix.js');
const { RecentMap } = require('../session/recent-map.js');

/** @import { User } from '../types.d.ts' */

/** The minimum number of sessions that are remembered: a few megabytes. */
const MIN_SESSIONS = 16_384;
/** An entry lives at least this many times as long as its session, so that most touches need not prolong it. */
const LIFE_FACTOR = 2;
/** With a deadline, the entry outlives that, so that no touch needs to prolong it. */
const DEADLINE_FACTOR = 1.1;
/** The part of an entry's life that counts, as clocks may differ in speed. With `DEADLINE_FACTOR`, it is enough. */
const CERTAIN = 0.95;
/** The clock is set back if it shows less than before by this many ms. */
const SET_BACK = 1000;

/** Times are remembered in units of this many ms since the start: whole numbers of 31 bits, which V8 stores in place. */
const UNIT = 100;
const START = Date.now();
/** The time of entries without an end. */
const NEVER = 2 ** 31 - 1;

/**
 * The users of a session, the first of them again, and the time up to which their entries certainly live.
 *
 * @typedef {{ users: User[], first: User, until: number }} Known
 */

/** @returns {InstanceType<typeof RecentMap<Known>>} */
const newMap = () => new RecentMap(MIN_SESSIONS);

/** The index entries that this process has asserted recently. */
class KnownEntries {
  #byPrefix = new PerPrefix(newMap);
  #prefix = '';
  #current = this.#byPrefix.get('');
  #now = 0;

  /** @param {string} prefix */
  #of(prefix) {
    if (prefix !== this.#prefix) {
      this.#current = this.#byPrefix.get(prefix);
      this.#prefix = prefix;
    }
    return this.#current;
  }

  /** Returns the time, and forgets everything if the clock was set back: ages would seem too low. */
  #time() {
    const now = tickTime();
    if (now < this.#now - SET_BACK) {
      this.#byPrefix = new PerPrefix(newMap);
      this.#current = this.#byPrefix.get(this.#prefix);
    }
    this.#now = now;
    return now;
  }

  /** @type {(prefix: string, id: string, users: User[], span: number) => void} */
  add(prefix, id, users, span) {
    const ends = Math.floor((this.#time() + CERTAIN * span - START) / UNIT);
    const until = span === 0 ? NEVER : Math.min(ends, NEVER - 1);
    this.#of(prefix).set(id, { users, first: users[0], until });
  }

  /**
   * Forgets the entries of a session, and returns its users; undefined if they are not known.
   *
   * @type {(prefix: string, id: string) => User[] | undefined}
   */
  remove(prefix, id) {
    const known = this.#of(prefix).get(id);
    this.#of(prefix).delete(id);
    return known?.users;
  }

  /**
   * Returns true if the session has entries in the indexes of these users that outlive it when its lifetime of `ttl` ms
   * (0: endless) starts now.
   *
   * @type {(prefix: string, id: string, users: User[], ttl: number) => boolean}
   */
  cover(prefix, id, users, ttl) {
    const now = this.#time();
    const known = this.#of(prefix).get(id);
    if (known === undefined) return false;
    if (known.first !== users[0]) return false;
    for (let at = 1; at < users.length; at++) if (known.users[at] !== users[at]) return false;
    return ttl === 0 ? known.until === NEVER : now + ttl <= known.until * UNIT + START;
  }
}

/**
 * Returns how long a session may be prolonged before its entry is asserted again, in ms; 0 for ever.
 *
 * @param {number} ttl the lifetime of the session in ms, 0 for an endless one
 * @param {number} [left] the ms until its deadline
 */
function spanOf(ttl, left = Number.POSITIVE_INFINITY) {
  if (ttl === 0) return 0;
  return left === Number.POSITIVE_INFINITY ? LIFE_FACTOR * ttl : DEADLINE_FACTOR * Math.max(ttl, left);
}

/**
 * Returns the life of an entry in ms, 0 for an endless one. The write that follows the assertion may reach Redis late, by
 * the timeout of each, and the session's lifetime begins only then.
 *
 * @param {number} span
 * @param {number} timeout of operations, in ms
 */
function lifeOf(span, timeout) {
  return span === 0 ? 0 : Math.ceil(span + 2 * timeout);
}

module.exports = { KnownEntries, lifeOf, spanOf };
