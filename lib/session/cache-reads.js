'use strict';

const { flushWrites } = require('../boundary/outbox.js');
const { setImmediate } = require('../common/timers.js');
const { Hit } = require('./get.js');
const { PerPrefix } = require('./per-prefix.js');

/**
 * Callbacks of hits that may run within one another. An app that reads from within its callback, again and
 * again, is answered by the event loop beyond that: its stack stays small, and others get their turn.
 */
const DEEPEST = 16;
let depth = 0;
/** Of so many promises, one waits for the event loop to turn: who awaits hits in a row would keep it from that. */
const PROMISES_PER_TURN = 128;
let promises = 0;

/** Answers reads from what the addon keeps in this process, in the same tick. */
class CacheReads {
  #native;
  /** When a session ends, twice, as the addon writes it; and the time by JavaScript's clock, for the addon. */
  #times = new Float64Array(3);
  #lookups;
  /** That of the prefix in force. */
  #lookup;

  /** @param prefix the one that `native` has */
  constructor(native, prefix) {
    this.#native = native;
    this.renew(prefix);
  }

  /** Reads from the cache of the connection that `native` has now. */
  renew(prefix) {
    this.#lookups = new PerPrefix(() => this.#native.lookup(this.#times));
    this.use(prefix);
  }

  /** Reads under another prefix, which `native` has by now. */
  use(prefix) {
    this.#lookup = this.#lookups?.get(prefix);
  }

  /** Nothing is looked up any more. The function holds its array for good, and with that what test runners have made. */
  end() {
    this.#lookup = undefined;
    this.#lookups = undefined;
  }

  /**
   * False if the session is not there, or not to be trusted.
   *
   * @param decides whether only JavaScript can tell which expiry is in force
   * @param timeout of the operation, in ms
   */
  get(store, id, callback, registry, keepsId, decides, timeout) {
    // What the app has written reaches the addon before what it reads.
    flushWrites();
    this.#times[2] = Date.now();
    const lookup = this.#lookup;
    const text = lookup(id);
    if (text === null) return false;
    const shown = this.#times[0];
    const ends = this.#times[1];
    const hit = new Hit(store, callback, id, registry, keepsId, decides, timeout, shown);
    if (depth < DEEPEST) {
      // In no `try`: what the callback throws is the app's. It then leaves a level behind, which the next
      // deferred hit puts right.
      depth++;
      hit.complete(text, ends);
      depth--;
    } else {
      setImmediate(() => {
        depth = 0;
        hit.complete(text, ends);
      });
    }
    return true;
  }

  /** What settles the promise of a read. */
  paced(settle) {
    promises = (promises + 1) % PROMISES_PER_TURN;
    return promises === 0 ? (error, result) => setImmediate(settle, error, result) : settle;
  }

  stats() {
    return this.#native.cacheStats();
  }
}

module.exports = { CacheReads };
