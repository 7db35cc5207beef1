'use strict';

const { Executor } = require('./executor.js');

/** @import { Executor as Shared, RedisClient, Watcher } from '../../types.d.ts' */
/** @import { ExecutorSettings } from './executor.js' */

/**
 * The executors of each client, by their settings.
 *
 * @type {WeakMap<object, Map<string, { executor: Shared, leases: number }>>}
 */
const executorsOf = new WeakMap();

/** Releases the leases of stores that the app has dropped without closing them. */
const collected = new FinalizationRegistry((lease) => lease.release());

/**
 * A store's share in the executor of its client: stores with the same client and settings share one, which keeps their
 * operations in order. The executor is closed with its last lease.
 */
class Lease {
  #executors;
  #key;
  /** @type {Watcher | undefined} */
  #watcher;
  /** The number of operations that `close` waits for. */
  #pending = 0;
  /** @type {(() => void)[]} */
  #onClosed = [];
  #isReleased = false;
  #isEnded = false;
  executor;

  /**
   * @param {object} owner held weakly; must not be referenced by the executor
   * @param {RedisClient} client
   * @param {ExecutorSettings} settings
   */
  constructor(owner, client, settings) {
    this.#key = JSON.stringify(settings);
    this.#executors = executorsOf.get(client) ?? new Map();
    executorsOf.set(client, this.#executors);
    const shared = this.#executors.get(this.#key) ?? { executor: new Executor(client, settings), leases: 0 };
    this.#executors.set(this.#key, shared);
    shared.leases++;
    this.executor = shared.executor;
    collected.register(owner, this, this);
  }

  /** Reports the events of the connection to a watcher, until the lease is released. @param {Watcher} watcher */
  watch(watcher) {
    this.#watcher = watcher;
    this.executor.status.watch(watcher);
  }

  unwatch() {
    if (this.#watcher !== undefined) this.executor.status.unwatch(this.#watcher);
  }

  begin() {
    this.#pending++;
  }

  end() {
    this.#pending--;
    this.#closeIfIdle();
  }

  /** Releases the lease once its operations are over, and calls `onClosed` then. @param {() => void} onClosed */
  close(onClosed) {
    this.#onClosed.push(onClosed);
    if (this.#isEnded) this.#end();
    else this.#closeIfIdle();
  }

  #closeIfIdle() {
    if (this.#pending === 0 && this.#onClosed.length > 0) this.release();
  }

  /** Closes the executor with its last lease. */
  release() {
    if (this.#isReleased) return;
    this.#isReleased = true;
    collected.unregister(this);
    this.unwatch();
    const shared = this.#executors.get(this.#key);
    if (shared !== undefined && --shared.leases > 0) {
      this.#end();
      return;
    }
    this.#executors.delete(this.#key);
    this.executor.close(() => this.#end());
  }

  #end() {
    this.#isEnded = true;
    for (const onClosed of this.#onClosed.splice(0)) onClosed();
  }
}

module.exports = { Lease };
