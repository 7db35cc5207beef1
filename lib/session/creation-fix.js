'use strict';

const { Operation } = require('../boundary/outbox.js');
const { Kind, Request } = require('../boundary/request.js');
const { isThenable, withTimeout } = require('../common/app-functions.js');
const { elapsed, nextTick } = require('../common/timers.js');
const { announceGone } = require('../observability/session-events.js');
const { NEVER } = require('./expiry.js');

/** @import { Backend, Callback, Complete, Settings } from '../types.d.ts' */
/** @import { Lifetimes } from './lifetimes.js' */

/** The maximum number of attempts to add the creation time to a session that others keep saving: they add it, too. */
const MAX_ATTEMPTS = 8;

/**
 * Touches a session whose stored text may lack its creation time, as those that connect-redis has saved: reads it, and
 * stores it with that time, by compare-and-set, so that it overwrites no save.
 */
class CreationFix extends Request {
  #attempts = 0;
  #deadline;
  /** The text that the pending attempt expects. */
  #expected = '';
  /** The pending command is a read. */
  #isReading = true;
  #confirm = () => {};
  /** The client backend sets it: the expiry of the key is always reported. */
  isTimed = true;

  /**
   * @param {Settings} store
   * @param {Callback} callback
   * @param {object} touch
   * @param {InstanceType<typeof Lifetimes>} touch.lifetimes
   * @param {Backend} touch.outbox
   * @param {string} touch.id
   * @param {number} touch.ttl the lifetime in ms, if the deadline is not earlier; Infinity for none
   * @param {number} touch.timeout
   */
  constructor(store, callback, { lifetimes, outbox, id, ttl, timeout }) {
    super(store, callback, 'touch');
    this.lifetimes = lifetimes;
    this.outbox = outbox;
    this.id = id;
    this.ttl = ttl;
    this.timeout = timeout;
    this.#deadline = elapsed() + timeout;
  }

  begin() {
    this.outbox.add(Operation.GET_TIMED, this, this.id);
  }

  /** @type {Complete} */
  complete(kind, text, ends) {
    const wasReading = this.#isReading;
    this.#isReading = false;
    // The addon counts the commands as operations, except a conflict.
    const { unsent } = this.store.stats;
    if (wasReading) unsent.get--;
    else if (kind !== Kind.CONFLICT) unsent.set--;
    if (kind === Kind.FAILED) {
      unsent.touch++;
      super.complete(kind, text);
    } else if (kind === Kind.MISSING || text === '') this.#end(kind);
    // Decoded to a JavaScript string, the stored bytes equal the expected text; sent back, they never would.
    else if (text === this.#expected || this.#attempts === MAX_ATTEMPTS || elapsed() >= this.#deadline)
      this.#succeed();
    else {
      // A session that must not be touched keeps its expiry.
      if (wasReading && this.store.disableTouch) this.ttl = ends === NEVER ? Infinity : ends - Date.now();
      this.runInAsyncScope(() => this.#fix(text)).then(
        (isSent) => isSent || nextTick(() => this.#succeed()),
        (error) =>
          nextTick(() => {
            this.store.stats.unsent.touch++;
            this.fail(error);
          }),
      );
    }
  }

  #succeed() {
    this.store.stats.unsent.touch++;
    this.succeed(null);
  }

  /** @param {number} kind */
  #end(kind) {
    if (kind === Kind.MISSING) announceGone(this, 'touch', this.id);
    else this.#confirm();
    this.#succeed();
  }

  /** Sends the text with its creation time. Returns false if there is nothing to store. @param {string} text */
  async #fix(text) {
    const { lifetimes, outbox, id, store } = this;
    let session;
    try {
      session = store.serializer.parse(text);
    } catch (error) {
      if (store.serializer !== JSON) throw error;
      return false;
    }
    if (isThenable(session))
      session = await withTimeout(session, this.#deadline - elapsed(), 'touch failed: serializer.parse');
    const fixed = lifetimes.fix(store, id, session, text, this.ttl);
    if (fixed === undefined) return false;
    if (fixed.ttl < 1) {
      lifetimes.end(store, id, text, 'touch', this);
      return false;
    }
    this.#attempts++;
    this.#expected = text;
    this.#confirm = fixed.confirm;
    const ttl = fixed.ttl === Number.POSITIVE_INFINITY ? 0 : fixed.ttl;
    outbox.withPrefix(store.prefix, () =>
      outbox.add(Operation.SET_IF_EQUAL, this, id, fixed.text, ttl, text),
    );
    return true;
  }
}

module.exports = { CreationFix };
