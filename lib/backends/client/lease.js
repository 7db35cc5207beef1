'use strict';

const { Executor } = require('./executor.js');

/** @import { Executor as Shared, ExecutorSettings, RedisClient, Watcher } from '../../types.d.ts' */

/** The executors of each client, by their settings. @type {WeakMap<object, Map<string, Shared>>} */
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
  /** The operations that `close` waits for, and one for the lease itself. */
  #pending = 1;
  #isClosing = false;
  #isReleased = false;
  /** @type {() => void} */
  #end = () => {};
  #ended = new Promise((resolve) => {
    this.#end = () => resolve(undefined);
  });

  /**
   * @param {object} owner held weakly; must not be referenced by the executor
   * @param {RedisClient} client
   * @param {ExecutorSettings} settings
   */
  constructor(owner, client, settings) {
    this.#key = JSON.stringify(settings);
    this.#executors = executorsOf.get(client) ?? new Map();
    executorsOf.set(client, this.#executors);
    this.executor = this.#executors.get(this.#key) ?? new Executor(client, settings);
    this.#executors.set(this.#key, this.executor);
    this.executor.leases++;
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
    if (--this.#pending === 0) this.release();
  }

  /** Releases the lease once its operations are over, and calls `onClosed` then. @param {() => void} onClosed */
  close(onClosed) {
    this.#ended.then(onClosed);
    if (this.#isClosing) return;
    this.#isClosing = true;
    this.end();
  }

  /** Closes the executor with its last lease. */
  release() {
    if (this.#isReleased) return;
    this.#isReleased = true;
    collected.unregister(this);
    this.unwatch();
    if (--this.executor.leases > 0) this.#end();
    else {
      this.#executors.delete(this.#key);
      this.executor.close(this.#end);
    }
  }
}

module.exports = { Lease };
