'use strict';

const { AsyncResource } = require('node:async_hooks');
const { nextTick, setImmediate } = require('../common/timers.js');
const { Completions, isTornDown } = require('./native.js');
const { Kind } = require('./request.js');

/** The layout of a slice; src/slice.rs writes it. */
const HEAD = 3;
const FIELDS = 3;
/** Kinds that are not a request's last, a bit for each. */
const CONTINUED =
  (1 << Kind.ITEM) | (1 << Kind.ID) | (1 << Kind.EVENT) | (1 << Kind.COMMANDS) | (1 << Kind.TOO_LONG);

/**
 * The async context in which this module was loaded. The addon's way to the event loop keeps the context it was made
 * in: that of the request which makes the first store is to end with it. Destroyed at once, so that nobody who looks
 * for what was left open takes it for that.
 */
const outside = new AsyncResource('RedisStore', { requireManualDestroy: true });
outside.emitDestroy();

/**
 * The completions of all stores: takes slices from the addon and gives each completion to its request.
 * Requests are known to the addon by their place in a table.
 *
 * It is over when the last place is free, as every store has one for what happens to its connection. The addon then lets
 * go of it, and with that of all that a test runner wants to be rid of when it has done with a file.
 */
class CompletionQueue {
  #native = outside.runInAsyncScope(() => new Completions(() => this.#drain()));
  #slice = new Uint32Array(this.#native.capacity);
  #requests = [];
  #free = [];
  #draining = false;
  #flushes = [];

  // The slice that is being given out. It outlives a callback that throws.
  #cursor = 0;
  #count = 0;
  #narrow = '';
  #narrowAt = 0;
  #wide = '';
  #wideAt = 0;
  /** The addon has more slices waiting. */
  #more = false;
  /** The guard of `#drain` is waiting for its tick. */
  #guarded = false;
  isOver = false;

  get native() {
    return this.#native;
  }

  /** Gives a request its place. */
  admit(request) {
    const slot = this.#free.pop() ?? this.#requests.length;
    this.#requests[slot] = request;
    return slot;
  }

  /** Has `flush` called at the end of the drain that is under way; false if there is none. */
  flushAfterDrain(flush) {
    if (this.#draining) this.#flushes.push(flush);
    return this.#draining;
  }

  /**
   * A callback may throw: that error is the app's and passes through here, on to Node, as it would from
   * any event emitter. The guard then takes up, in the next tick, what the throw left undone.
   */
  #drain() {
    if (isTornDown()) return;
    this.#draining = true;
    if (!this.#guarded) {
      this.#guarded = true;
      nextTick(this.#guard);
    }
    do {
      while (this.#cursor < this.#count) this.#giveOut();
    } while (this.#takeSlice());
    this.#draining = false;
    this.#flushAll();
    if (this.#free.length === this.#requests.length) this.#end();
  }

  #end() {
    if (this.isOver) return;
    this.isOver = true;
    this.#native.end();
  }

  #guard = () => {
    this.#guarded = false;
    if (this.#draining) this.#drain();
  };

  #flushAll() {
    const flushes = this.#flushes;
    if (flushes.length === 0) return;
    this.#flushes = [];
    for (const flush of flushes) flush();
  }

  /** False when there is no slice to give out now. */
  #takeSlice() {
    const slice = this.#slice;
    if (this.#more) {
      // Let the event loop turn before the next slice, and Redis work meanwhile.
      this.#more = false;
      setImmediate(() => this.#drain());
      return false;
    }
    const narrow = this.#native.collect(slice);
    this.#count = slice[0];
    this.#cursor = 0;
    if (this.#count === 0) return false;
    this.#narrow = narrow;
    this.#narrowAt = 0;
    this.#wide = slice[1] === 1 ? this.#native.collectWide() : '';
    this.#wideAt = 0;
    this.#more = slice[2] === 1;
    return true;
  }

  #giveOut() {
    const slice = this.#slice;
    const at = HEAD + this.#cursor++ * FIELDS;
    const slot = slice[at];
    const request = this.#requests[slot];
    const flags = slice[at + 1];
    const kind = flags & Kind.ALL;
    const length = slice[at + 2];
    if (kind === Kind.COUNT) {
      this.#release(slot);
      request.complete(kind, length);
      return;
    }
    let text = '';
    if (length > 0) {
      if (flags & Kind.WIDE) {
        text = this.#wide.slice(this.#wideAt, this.#wideAt + length);
        this.#wideAt += length;
      } else {
        text = this.#narrow.slice(this.#narrowAt, this.#narrowAt + length);
        this.#narrowAt += length;
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

  #release(slot) {
    this.#requests[slot] = undefined;
    this.#free.push(slot);
  }
}

module.exports = { CompletionQueue };
