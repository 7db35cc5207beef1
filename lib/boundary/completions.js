'use strict';

const { outside } = require('../common/outside.js');
const { nextTick, setImmediate } = require('../common/timers.js');
const { decodeServed } = require('../observability/stats.js');
const { Completions, isTornDown } = require('./native.js');
const { Kind } = require('./request.js');

/** @import { Receiver } from '../types.d.ts' */

/** The layout of a slice, which src/slice.rs writes: numbers in its head, and per completion. */
const HEAD = 3;
const FIELDS = 3;
/** A bit for each kind of completion that is not the last one of its request. */
const CONTINUED = (1 << Kind.ITEM) | (1 << Kind.ID) | (1 << Kind.EVENT) | (1 << Kind.TOO_LONG);
/** A bit for each kind whose record has a number in place of a text. */
const NUMBERS = (1 << Kind.COUNT) | (1 << Kind.SERVED);

/**
 * Delivers the completions of all stores: collects slices from the addon and passes each completion to its request. The
 * addon identifies a request by its slot in a table.
 *
 * The queue ends when all slots are free; every store occupies one for the events of its connection. The addon then
 * releases the queue, so that a test runner can free everything that a test file has loaded.
 */
class CompletionQueue {
  // The addon's threadsafe function keeps the context in which it was created.
  #native = outside.runInAsyncScope(() => new Completions(() => this.#drain()));
  #slice = new Uint32Array(this.#native.capacity);
  /** @type {(Receiver | undefined)[]} */
  #requests = [];
  /** @type {number[]} */
  #freeSlots = [];
  #draining = false;
  /** @type {(() => void)[]} */
  #flushes = [];

  // The slice that is being delivered. It survives a callback that throws.
  #cursor = 0;
  #count = 0;
  #oneByte = '';
  #oneByteAt = 0;
  #twoByte = '';
  #twoByteAt = 0;
  /** The addon has more slices waiting. */
  #hasMore = false;
  /** `#continueDrain` is scheduled for the next tick. */
  #isGuarded = false;
  isEnded = false;

  get native() {
    return this.#native;
  }

  /** Assigns a slot to a request, and returns it. @param {Receiver} request */
  register(request) {
    const slot = this.#freeSlots.pop() ?? this.#requests.length;
    this.#requests[slot] = request;
    return slot;
  }

  /** Schedules `flush` for the end of the current drain. Returns false if there is none. @param {() => void} flush */
  flushAfterDrain(flush) {
    if (this.#draining) this.#flushes.push(flush);
    return this.#draining;
  }

  /**
   * A callback may throw: that exception is the app's and propagates to Node, as from any event emitter. The rest of
   * the slice is then delivered in the next tick, by `#continueDrain`.
   */
  #drain() {
    if (isTornDown()) return;
    this.#draining = true;
    if (!this.#isGuarded) {
      this.#isGuarded = true;
      nextTick(this.#continueDrain);
    }
    do {
      while (this.#cursor < this.#count) this.#deliver();
    } while (this.#collectSlice());
    this.#draining = false;
    this.#flushAll();
    if (this.#freeSlots.length === this.#requests.length) this.#end();
  }

  #end() {
    if (this.isEnded) return;
    this.isEnded = true;
    this.#native.end();
  }

  #continueDrain = () => {
    this.#isGuarded = false;
    if (this.#draining) this.#drain();
  };

  #flushAll() {
    const flushes = this.#flushes;
    if (flushes.length === 0) return;
    this.#flushes = [];
    for (const flush of flushes) flush();
  }

  /** Collects the next slice. Returns false if there is none to deliver now. */
  #collectSlice() {
    const slice = this.#slice;
    if (this.#hasMore) {
      // The event loop turns before the next slice, and Redis continues meanwhile.
      this.#hasMore = false;
      setImmediate(() => this.#drain());
      return false;
    }
    const oneByte = this.#native.collect(slice);
    this.#count = slice[0];
    this.#cursor = 0;
    if (this.#count === 0) return false;
    this.#oneByte = oneByte ?? '';
    this.#oneByteAt = 0;
    this.#twoByte = slice[1] === 1 ? this.#nextText() : '';
    this.#twoByteAt = 0;
    this.#hasMore = slice[2] === 1;
    return true;
  }

  /** Returns the next string of the slice, which has announced it. */
  #nextText() {
    return /** @type {string} */ (this.#native.nextText());
  }

  /** Passes the next completion of the slice to its request. */
  #deliver() {
    const slice = this.#slice;
    const at = HEAD + this.#cursor++ * FIELDS;
    const slot = slice[at];
    const request = /** @type {Receiver} */ (this.#requests[slot]);
    const flags = slice[at + 1];
    const kind = flags & Kind.MASK;
    const length = slice[at + 2];
    if ((NUMBERS & (1 << kind)) !== 0) {
      if (kind === Kind.SERVED) request.trace?.served(decodeServed(length));
      else {
        this.#release(slot);
        request.complete(kind, '', length);
      }
      return;
    }
    let text = '';
    if (flags & Kind.LARGE) text = this.#nextText();
    else if (length > 0) {
      if (flags & Kind.TWO_BYTE) {
        text = this.#twoByte.slice(this.#twoByteAt, this.#twoByteAt + length);
        this.#twoByteAt += length;
      } else {
        text = this.#oneByte.slice(this.#oneByteAt, this.#oneByteAt + length);
        this.#oneByteAt += length;
      }
    }
    let ends = 0;
    if (flags & Kind.TIMED) {
      const next = HEAD + this.#cursor++ * FIELDS;
      ends = slice[next] + slice[next + 1] * 2 ** 32;
    }
    if ((CONTINUED & (1 << kind)) === 0) this.#release(slot);
    request.complete(kind, text, ends);
  }

  /** @param {number} slot */
  #release(slot) {
    this.#requests[slot] = undefined;
    this.#freeSlots.push(slot);
  }
}

module.exports = { CompletionQueue };
