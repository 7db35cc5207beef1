'use strict';

const { Operation } = require('../boundary/outbox.js');
const { Request } = require('../boundary/request.js');
const { elapsed, nextTick } = require('../common/timers.js');
const { CreationFix } = require('./creation-fix.js');
const { deleteEnded } = require('./get.js');
const { Touch } = require('./write-requests.js');

/** @import { Callback, IndexedWrites, SessionContext, SessionRecord, User } from '../types.d.ts' */
/** @import { Lifetimes } from './lifetimes.js' */

/** The tolerated difference between the clocks of Redis and this process, in ms. */
const CLOCK_TOLERANCE = 100;

/** The second half of `touch`: sends touches. */
class Touches {
  #context;
  /** Undefined unless sessions are indexed. */
  #indexed;

  /** @param {SessionContext} context @param {IndexedWrites | undefined} indexed */
  constructor(context, indexed) {
    this.#context = context;
    this.#indexed = indexed;
  }

  /** Returns true if a touch sends nothing. @param {string} sid */
  isDisabled(sid) {
    const { settings } = this.#context;
    const { lifetimes, disableTouch, disableTTL } = settings;
    if (lifetimes === undefined) return disableTouch || disableTTL;
    return disableTouch && lifetimes.isStored(settings, sid);
  }

  /**
   * Touches a session, if necessary once it is in the indexes of its users. `limited` is its lifetime with its deadline,
   * less than 1 if it is over; undefined if its creation time is not stored.
   *
   * @type {(sid: string, record: SessionRecord | undefined, callback: Callback, ttl: number,
   *   limited: number | undefined, users: User[] | undefined) => void}
   */
  send(sid, record, callback, ttl, limited, users) {
    const { lifetimes } = this.#context.settings;
    if (users !== undefined && this.#needsEntries(sid, users, limited ?? ttl))
      this.#indexed?.touch(sid, users, limited ?? ttl, callback, (done) => {
        if (lifetimes === undefined) this.#touch(sid, record, done, ttl);
        else this.#touchLimited(lifetimes, sid, record, done, ttl, limited);
      });
    else if (lifetimes !== undefined) this.#touchLimited(lifetimes, sid, record, callback, ttl, limited);
    else if (this.#context.isLocked(sid)) this.#enqueue(sid, record, callback, ttl);
    else this.#touch(sid, record, callback, ttl);
  }

  /** Returns true if a touch has to assert index entries first. @type {(sid: string, users: User[], ttl: number) => boolean} */
  #needsEntries(sid, users, ttl) {
    return ttl >= 1 && this.#indexed?.covers(this.#context.settings, sid, users, ttl) === false;
  }

  /**
   * Touches a session whose lifetime is limited.
   *
   * @type {(lifetimes: InstanceType<typeof Lifetimes>, sid: string, record: SessionRecord | undefined,
   *   callback: Callback, ttl: number, limited: number | undefined) => void}
   */
  #touchLimited(lifetimes, sid, record, callback, ttl, limited) {
    const context = this.#context;
    const isLocked = context.isLocked(sid);
    if (limited === undefined) {
      const begin = (/** @type {Callback} */ done) => {
        const { settings, outbox, timeout } = context;
        new CreationFix(settings, done, { lifetimes, outbox, id: sid, ttl, timeout }).begin();
      };
      if (isLocked) context.enqueue(sid, 'touch', callback, begin);
      else begin(callback);
    } else if (limited >= 1 && limited !== Number.POSITIVE_INFINITY) {
      if (isLocked) this.#enqueue(sid, record, callback, limited);
      else this.#touch(sid, record, callback, limited);
    } else {
      context.settings.stats.unsent.touch++;
      nextTick(callback, null, null);
      if (limited >= 1) return;
      lifetimes.announceEnd(context.settings, sid, 'touch');
      deleteEnded(context, sid);
    }
  }

  /** @type {(sid: string, record: SessionRecord | undefined, callback: Callback, ttl: number) => void} */
  #enqueue(sid, record, callback, ttl) {
    const since = elapsed();
    this.#context.enqueue(sid, 'touch', callback, (done) => {
      // The deadline of a session does not wait.
      const { lifetimes } = this.#context.settings;
      const left = lifetimes === undefined ? ttl : Math.ceil(ttl - (elapsed() - since));
      this.#touch(sid, record, done, Math.max(1, left));
    });
  }

  /** @type {(sid: string, record: SessionRecord | undefined, callback: Callback, ttl: number) => void} */
  #touch(sid, record, callback, ttl) {
    const { settings, outbox } = this.#context;
    const { touchAfter, knownEnds, stats } = settings;
    const isLimited = touchAfter > 0 && record !== undefined;
    if (isLimited && this.#isFresh(record, ttl)) {
      stats.unsent.touch++;
      callback(null, null);
      return;
    }
    const touch =
      isLimited || knownEnds.isActive
        ? new Touch(settings, callback, sid, record, Date.now() + ttl)
        : new Request(settings, callback, 'touch');
    outbox.add(Operation.TOUCH, touch, sid, '', ttl);
  }

  /**
   * Returns true if the last touch, or save, was less than `touchAfter` ago.
   *
   * @type {(record: SessionRecord, ttl: number) => boolean}
   */
  #isFresh({ ends }, ttl) {
    const remaining = ends - Date.now();
    // At most half of the lifetime, so that a short one does not end between two touches.
    const touchAfter = Math.min(this.#context.settings.touchAfter * 1000, ttl / 2);
    return remaining >= ttl - touchAfter && remaining <= ttl + CLOCK_TOLERANCE;
  }
}

module.exports = { Touches };
