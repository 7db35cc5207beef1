'use strict';

const { channels } = require('../observability/session-events.js');
const { NEVER } = require('./expiry.js');
const { RecentMap } = require('./recent-map.js');

/** @import { Settings } from '../types.d.ts' */

/** The minimum number of sessions that are remembered: about 10 MB. */
const MIN_SESSIONS = 65_536;
/** The time in ms by which a session may end later here than in Redis: a reply takes time. */
const TOLERANCE = 1000;

/** Remembers when the sessions of a store end, while the app receives the event `expired`. */
class KnownEnds {
  /** @type {InstanceType<typeof RecentMap<number>>} */
  #ends = new RecentMap(MIN_SESSIONS);
  /** The store has, or had, a listener. */
  hasListener = false;

  get isActive() {
    return this.hasListener || channels.expired.hasSubscribers;
  }

  /**
   * Notes when a stored session ends, in ms since 1970; 0 if it does not.
   *
   * @type {(settings: Settings, id: string, end: number) => void}
   */
  note({ prefix, disableTTL, lifetimes }, id, end) {
    if (!this.isActive) return;
    if (end > 0 && end < NEVER && !(disableTTL && lifetimes === undefined)) this.#ends.set(prefix + id, end);
    else this.#ends.delete(prefix + id);
  }

  /** Notes that a session was destroyed. @param {Settings} settings @param {string} id */
  forget({ prefix }, id) {
    this.#ends.delete(prefix + id);
  }

  forgetAll() {
    this.#ends.clear();
  }

  /**
   * Forgets a session that is gone. Returns true if its end was known and has passed; otherwise it was destroyed.
   *
   * @param {Settings} settings
   * @param {string} id
   */
  takePassed({ prefix }, id) {
    if (!this.isActive) return false;
    const end = this.#ends.get(prefix + id);
    if (end === undefined) return false;
    this.#ends.delete(prefix + id);
    return Date.now() >= end - TOLERANCE;
  }
}

module.exports = { KnownEnds };
