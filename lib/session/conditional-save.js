'use strict';

const { isDeepStrictEqual } = require('node:util');
const { Operation } = require('../boundary/outbox.js');
const { Kind, Request } = require('../boundary/request.js');
const { wrongType } = require('../common/errors.js');
const { RedisStoreError } = require('../common/store-error.js');
const {
  STOPPED_MS,
  clearTimeout,
  elapsed,
  nextTick,
  setImmediate,
  setTimeout,
} = require('../common/timers.js');
const { announceGone, announceOf } = require('../observability/session-events.js');
const { corrupt } = require('./corrupt.js');
const { isSameContent, isSameJson, merge } = require('./merge.js');
const { UNKNOWN_BASE } = require('./session-registry.js');
const { DISCARDED } = require('./write-requests.js');
const { stringify } = require('./stringify.js');

/** @import { Backend, Callback, Complete, KeyedQueue, SessionObject, SessionRecord } from '../types.d.ts' */
/** @import { Compare, Settings, Text, Timer } from '../types.d.ts' */

/** The maximum number of unconfirmed saves that a record keeps. The oldest is dropped. */
const MAX_UNCONFIRMED = 16;
/** The length from which the event loop turns between the steps of a decision: parsing a session takes about 1 ms. */
const LONG = 256 * 1024;

/**
 * Saves a session unless it has changed in Redis since it was loaded; then `onConflict` decides. Each attempt is a
 * compare-and-set: it stores a text if the expected one is stored. Otherwise it completes with the stored text, and the
 * next attempt, which expects that, stores what was decided.
 *
 * It holds the lock of its session from `begin` to its end, and uses the prefix that was set when it was called.
 */
class ConditionalSave extends Request {
  #deadline;
  /**
   * Enforces the deadline of all attempts together, since each has its own in the addon. Undefined for a single one.
   *
   * @type {Timer | undefined}
   */
  #timer;
  #isOver = false;
  /** The text that the pending attempt expects, if it expects one. @type {Text | undefined} */
  #expected;
  /** The text that the pending attempt stores. @type {Text} */
  #sent = '';
  #isInFlight = false;
  /** The time at which the session ends if the pending attempt stores it; 0 without a lifetime. */
  #ends = 0;
  /** The pending attempt restores a destroyed session. */
  #isReviving = false;
  /** The session has not been stored before, as far as its record shows. */
  #isNew = false;
  /** An earlier attempt or save stored the session, but its reply was lost. */
  #wasStored = false;
  /** The resolution of the last conflict. @type {'merged' | 'function' | undefined} */
  #resolution;

  /**
   * @param {Settings} store
   * @param {Callback} callback
   * @param {object} save
   * @param {Backend} save.outbox
   * @param {KeyedQueue} save.queue
   * @param {string} save.prefix
   * @param {SessionObject} save.session
   * @param {SessionRecord} save.record
   * @param {Text} save.text
   * @param {number} save.ttl
   * @param {number} save.endsBy the deadline of the session, by `elapsed`; Infinity without one
   * @param {number | undefined} save.createdAt the creation time in the text, if it has one
   * @param {Settings['onConflict']} save.onConflict
   * @param {boolean} save.isTracked the object is the session of this id
   * @param {boolean} save.restoresDestroyed
   * @param {number} save.since the time of the call, by `elapsed`
   * @param {number} save.timeout
   */
  constructor(
    store,
    callback,
    {
      outbox,
      queue,
      prefix,
      session,
      record,
      text,
      ttl,
      endsBy,
      createdAt,
      onConflict,
      isTracked,
      restoresDestroyed,
      since,
      timeout,
    },
  ) {
    super(store, callback, 'set');
    this.#deadline = since + timeout;
    this.timeout = timeout;
    this.outbox = outbox;
    this.queue = queue;
    this.prefix = prefix;
    this.key = prefix + record.id;
    this.session = session;
    this.record = record;
    this.text = text;
    this.ttl = ttl;
    this.endsBy = endsBy;
    this.createdAt = createdAt;
    this.onConflict = onConflict;
    this.isTracked = isTracked;
    this.restoresDestroyed = restoresDestroyed;
  }

  begin() {
    this.queue.lock(this.key);
    const { base, since, unconfirmed } = this.record;
    this.#isNew = base === undefined || since === undefined;
    // An unconfirmed save may have succeeded. This is resolved before a merge: keys that this request has changed back
    // since that save would count as unchanged.
    this.#send(base !== undefined && unconfirmed !== undefined ? UNKNOWN_BASE : base);
  }

  /** @param {Text | undefined} expected */
  #send(expected, text = this.text) {
    const { outbox, prefix, record } = this;
    const ttl = this.#lifetime();
    if (ttl < 0) {
      this.#discardEnded();
      return;
    }
    this.#expected = expected;
    this.#sent = text;
    this.#isInFlight = true;
    this.#ends = ttl > 0 ? Date.now() + ttl : 0;
    const operation = expected === undefined ? Operation.SET_NEW : Operation.SET_IF_EQUAL;
    outbox.withPrefix(prefix, () => outbox.add(operation, this, record.id, text, ttl, expected));
  }

  /** Returns the lifetime for the pending attempt in ms: 0 for none, less if the deadline has passed. */
  #lifetime() {
    const { ttl, endsBy } = this;
    if (endsBy === Number.POSITIVE_INFINITY) return ttl;
    const remaining = Math.floor(endsBy - elapsed());
    return remaining < 1 ? -1 : Math.min(ttl, remaining);
  }

  #discardEnded() {
    // The addon counts an attempt unless it completed with a conflict.
    nextTick(() => {
      if (this.#isOver) return;
      this.store.stats.unsent.set++;
      this.store.lifetimes?.announceEnd(this.store, this.record.id, 'set', this);
      this.#end(Kind.MISSING, '');
    });
  }

  /** @type {Complete} */
  complete(kind, text) {
    if (this.#isOver) return;
    this.#isInFlight = kind === Kind.FAILED;
    if (kind === Kind.MISSING) announceGone(this, 'set', this.record.id);
    if (kind === Kind.CONFLICT) this.#conflict(text);
    else if (kind === Kind.MISSING && this.#mayRevive) {
      this.#isReviving = true;
      // The next attempt counts.
      this.store.stats.unsent.set--;
      this.#setTimer();
      this.#send(undefined);
    } else this.#end(kind, text);
  }

  get #mayRevive() {
    return !this.#isReviving && (this.restoresDestroyed || this.record.since === undefined);
  }

  /** @param {number} kind @param {string} text */
  #end(kind, text) {
    const { record, queue, key } = this;
    if (kind === Kind.DONE) {
      // The request's own version, without the keys that were merged into it.
      record.base = this.text;
      record.unconfirmed = undefined;
      record.since ??= 0;
      record.ends = this.#ends;
      this.#announceStored();
    } else {
      record.ends = 0;
      if (kind === Kind.MISSING) announceOf(this, 'discarded', 'set', record.id);
    }
    this.#close();
    queue.unlock(key);
    if (kind === Kind.MISSING) this.succeed(DISCARDED);
    else super.complete(kind, text);
  }

  #announceStored() {
    const { store, record } = this;
    store.knownEnds.note(store, record.id, record.ends);
    if (this.#isNew && (this.#expected === undefined || this.#wasStored))
      announceOf(this, 'created', 'set', record.id);
    if (this.#resolution !== undefined) this.#announceConflict(this.#resolution);
  }

  /** @param {'merged' | 'function' | 'rejected'} resolution */
  #announceConflict(resolution) {
    announceOf(this, 'conflict', 'set', this.record.id, { resolution });
  }

  /** Fails, since a conflict was not resolved. @param {unknown} error */
  #abort(error) {
    if (this.#isOver) return;
    this.#announceConflict('rejected');
    // The addon counts an attempt unless it completed with a conflict.
    if (!this.#isInFlight) this.store.stats.unsent.set++;
    this.#close();
    this.queue.unlock(this.key);
    this.fail(error);
  }

  #close() {
    this.#isOver = true;
    clearTimeout(this.#timer);
    // An attempt without a reply may have succeeded.
    if (this.#isInFlight) this.#noteUnconfirmed();
  }

  #noteUnconfirmed() {
    const { record, text } = this;
    record.unconfirmed ??= [];
    record.unconfirmed.push({ stored: this.#sent, known: text });
    if (record.unconfirmed.length > MAX_UNCONFIRMED) record.unconfirmed.shift();
  }

  #setTimer() {
    this.#timer ??= setTimeout(() => this.#checkDeadline(), Math.max(0, this.#deadline - elapsed()));
  }

  #checkDeadline() {
    const now = elapsed();
    if (now - this.#deadline < STOPPED_MS) this.#abort(this.#timeoutError());
    else {
      // The time in which the process was stopped does not count. How much that was is not known.
      this.#deadline = now + this.timeout;
      this.#timer = undefined;
      this.#setTimer();
    }
  }

  #isLate() {
    return elapsed() >= this.#deadline;
  }

  #timeoutError() {
    const what =
      this.#isInFlight || typeof this.onConflict !== 'function'
        ? 'others have changed it repeatedly for'
        : 'nothing was decided within';
    return conflict(`${what} ${this.timeout} ms (${this.outbox.server})`);
  }

  /** Handles a conflict: `stored` is the stored text. @param {string} stored */
  #conflict(stored) {
    const expected = this.#expected;
    this.#isReviving = false;
    this.#resolution = undefined;
    this.#setTimer();
    // Decoded to a JavaScript string, the stored bytes equal the expected text; sent back, they never would.
    if (expected !== undefined && stored === String(expected))
      this.#abort(conflict('what is stored is not UTF-8'));
    // `UNKNOWN_BASE` is empty: a stored text that is empty cannot be expected.
    else if (stored === '') this.#abort(conflict('what is stored is empty'));
    // Stored by an attempt whose reply was lost, or by another request that saved the same. It is stored again, so that
    // the session's lifetime starts now.
    else if (stored === String(this.text)) {
      this.#wasStored ||= this.isTracked;
      this.#send(this.text);
    } else {
      this.#noteConfirmed(stored);
      this.runInAsyncScope(() => this.#decide(stored)).then(
        (text) => nextTick(() => this.#isOver || this.#store(stored, text)),
        // A function that waits for an operation on this session fails when that one times out: not before we do.
        (error) => nextTick(() => this.#abort(this.#isLate() ? this.#timeoutError() : error)),
      );
    }
  }

  /**
   * Makes the version of an unconfirmed save the base, if that save wrote the stored text: its reply was lost.
   *
   * @param {string} stored
   */
  #noteConfirmed(stored) {
    const { record } = this;
    const save = record.unconfirmed?.find((unconfirmed) => String(unconfirmed.stored) === stored);
    if (save === undefined) return;
    record.base = save.known;
    record.unconfirmed = undefined;
    this.#wasStored = true;
  }

  /** Stores what was decided: nothing if the stored session is over. @param {string} stored @param {Text | undefined} text */
  #store(stored, text) {
    if (text !== undefined) this.#send(stored, text);
    else {
      this.store.lifetimes?.end(this.store, this.record.id, stored, 'set', this);
      this.#discardEnded();
    }
  }

  /**
   * Returns the text to store in place of `stored`; undefined if that is over, and so this session.
   *
   * @param {string} stored
   * @returns {Promise<Text | undefined>}
   */
  async #decide(stored) {
    const { session, onConflict, record, store } = this;
    if (record.base !== undefined && stored === String(record.base)) return this.text;
    const isSame = store.serializer === JSON ? isSameJson : isDeepStrictEqual;
    const theirs = await this.#parse(stored);
    const mine = await this.#parse(this.text);
    const base = record.base ? await this.#parse(record.base) : null;
    await turn(stored);
    const key = store.lifetimes?.createdAtKey;
    if (this.#isEnded(theirs)) return record.base === undefined || this.#mayRevive ? this.text : undefined;
    if (base !== null) this.#adoptCreation(theirs, mine);
    if (isSameContent(mine, theirs, isSame, key)) return this.text;
    if (base === null || !isSameContent(base, theirs, isSame, key)) store.stats.conflicts++;
    if (base !== null) {
      if (onConflict === 'merge') {
        if (!isSameContent(base, mine, isSame, key) && !isSameContent(base, theirs, isSame, key))
          this.#resolution = 'merged';
        return this.#merge(base, theirs, mine, isSame);
      }
      if (isSameContent(base, theirs, isSame, key)) return this.text;
      // This request has changed nothing: what others have stored stays, with the cookie of this request.
      if (isSameContent(base, mine, isSame, key)) return this.#merge(base, theirs, mine, isSame);
    }
    if (typeof onConflict !== 'function') throw conflict(reasonFor(record), theirs);
    this.#resolution = 'function';
    const chosen = await onConflict(base, theirs, /** @type {any} */ (session));
    if (chosen === null || typeof chosen !== 'object')
      throw wrongType('What the "onConflict" function returns', 'a session', chosen);
    return this.#stringify(chosen);
  }

  /** Returns true if the deadline of a stored session has passed. @param {any} theirs */
  #isEnded(theirs) {
    const { lifetimes } = this.store;
    if (lifetimes === undefined || theirs === null || typeof theirs !== 'object') return false;
    return lifetimes.remainingOf(this.store, this.record.id, theirs) < 1;
  }

  /** Adopts the creation time of the stored version if that is earlier. @param {any} theirs @param {any} mine */
  #adoptCreation(theirs, mine) {
    const { createdAt, store } = this;
    const { lifetimes, serializer } = store;
    if (lifetimes === undefined || createdAt === undefined || !(theirs?.[lifetimes.createdAtKey] < createdAt))
      return;
    const earlier = Number(theirs[lifetimes.createdAtKey]);
    this.createdAt = earlier;
    this.endsBy -= createdAt - earlier;
    this.text = lifetimes.stringify(serializer, mine, earlier);
  }

  /** @type {(base: any, theirs: any, mine: any, isSame: Compare) => Text} */
  #merge(base, theirs, mine, isSame) {
    const versions = { 'this request loaded': base, 'is stored': theirs, 'this request saves': mine };
    for (const [name, version] of Object.entries(versions))
      if (version === null || typeof version !== 'object' || Array.isArray(version))
        throw conflict(`what ${name} is no JSON object, so there is nothing to merge`, theirs);
    return this.#stringify(merge(base, theirs, mine, isSame));
  }

  /** @param {SessionObject} chosen */
  #stringify(chosen) {
    const { store, session, createdAt } = this;
    const { serializer, lifetimes } = store;
    // The cookie is always that of this request.
    const merged = chosen === session ? session : { ...chosen, cookie: session.cookie };
    return lifetimes === undefined || createdAt === undefined
      ? stringify(serializer, merged)
      : lifetimes.stringify(serializer, merged, createdAt);
  }

  /** @param {Text} value @returns {Promise<any>} */
  async #parse(value) {
    const { serializer } = this.store;
    const text = String(value);
    await turn(text);
    try {
      return await serializer.parse(text);
    } catch (error) {
      if (serializer !== JSON) throw error;
      throw typeof this.onConflict === 'function'
        ? corrupt('set', this.prefix, text)
        : conflict('what is stored is no JSON object');
    }
  }
}

/** Lets the event loop turn before the next step with a long text. @param {string} text */
async function turn(text) {
  if (text.length >= LONG) await new Promise((resolve) => setImmediate(resolve, undefined));
}

/** Returns the reason of a conflict that no rule resolves. @param {SessionRecord} record */
function reasonFor({ base }) {
  if (base === undefined) return 'a session is stored under its id, which this request has not loaded';
  if (base !== UNKNOWN_BASE) return 'the stored session has changed since this request loaded it';
  return "what this request loaded is not known, since its session was not made by the store's createSession";
}

/**
 * Creates the error of a conflict. Its `stored` is not enumerable, so that loggers skip the session.
 *
 * @param {string} reason
 * @param {unknown} [stored]
 */
function conflict(reason, stored) {
  const error = new RedisStoreError(`set failed: the session was not saved: ${reason}`, {
    code: 'ERR_SESSION_CONFLICT',
    operation: 'set',
  });
  return Object.defineProperty(error, 'stored', { value: stored, configurable: true, writable: true });
}

module.exports = { ConditionalSave };
