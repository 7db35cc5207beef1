'use strict';

const { flushWrites } = require('../boundary/outbox.js');
const { setImmediate } = require('../common/timers.js');
const { tracing } = require('../observability/channels.js');
const { Hit } = require('./get.js');
const { PerPrefix } = require('./per-prefix.js');

/**
 * The maximum nesting of callbacks of cache hits. An app that keeps reading from within its callback gets the next
 * result from the event loop: the stack stays small, and other work gets its turn.
 */
const MAX_DEPTH = 16;
let depth = 0;
/** One promise out of this many waits for the event loop to turn, which code that awaits hits in a loop would block. */
const PROMISES_PER_TURN = 128;
let promises = 0;

/** @import { Callback, Native, SessionRegistry, Settings } from '../types.d.ts' */
/** @typedef {(id: string) => string | null} Lookup */

/** Reads from the addon's cache, in the same tick. */
class CacheReads {
  #native;
  /**
   * The expiry to show and the end of the key, which the addon writes; and the time by JavaScript's clock, for the
   * addon.
   */
  #times = new Float64Array(3);
  /** @type {{ get: (prefix: string) => Lookup } | undefined} */
  #lookups;
  /** The lookup function of the current prefix. @type {Lookup | undefined} */
  #lookup;

  /** @param {Native} native @param {string} prefix the current prefix of `native` */
  constructor(native, prefix) {
    this.#native = native;
    this.useConnection(prefix);
  }

  /** Uses the cache of the connection that `native` has now. @param {string} prefix */
  useConnection(prefix) {
    this.#lookups = new PerPrefix(() => this.#native.lookup(this.#times));
    this.use(prefix);
  }

  /** Uses another prefix, which was set in `native` before. @param {string} prefix */
  use(prefix) {
    this.#lookup = this.#lookups?.get(prefix);
  }

  /** Drops the lookup functions. Each holds its array permanently, and through it the globals of a test runner. */
  end() {
    this.#lookup = undefined;
    this.#lookups = undefined;
  }

  /**
   * Answers a read. Returns false on a cache miss or a stale miss.
   *
   * @param {Settings} store
   * @param {string} id
   * @param {Callback} callback
   * @param {SessionRegistry} registry
   * @param {boolean} keepsId
   * @param {boolean} decidesExpiry true if only JavaScript can decide which expiry is in force
   * @param {number} timeout of the operation, in ms
   */
  get(store, id, callback, registry, keepsId, decidesExpiry, timeout) {
    // The app's earlier writes reach the addon before this read.
    flushWrites();
    this.#times[2] = Date.now();
    const text = this.#lookup?.(id) ?? null;
    if (tracing.isActive && callback.trace) callback.trace.context.cache = text === null ? 'miss' : 'hit';
    if (text === null) return false;
    store.stats.unsent.get++;
    const shown = this.#times[0];
    const ends = this.#times[1];
    const hit = new Hit(store, callback, id, registry, keepsId, decidesExpiry, timeout, shown);
    if (depth < MAX_DEPTH) {
      // Outside any `try`, so that exceptions of the callback reach the app. `depth` then stays too high until the next
      // deferred hit resets it.
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

  /**
   * Returns the callback for the promise of a read: `callback`, deferred once in a while.
   *
   * @type {(callback: Callback) => Callback}
   */
  pace(callback) {
    promises = (promises + 1) % PROMISES_PER_TURN;
    return promises === 0 ? (error, result) => setImmediate(callback, error, result) : callback;
  }

  stats() {
    return this.#native.cacheStats();
  }
}

module.exports = { CacheReads };
