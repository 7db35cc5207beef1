'use strict';

const { KeyedQueue } = require('./keyed-queue.js');
const { PerPrefix } = require('./per-prefix.js');
const { SessionRegistry } = require('./session-registry.js');

/** @import { Backend, CacheReads, Callback, Closable, Settings } from '../types.d.ts' */

/** The settings in force, the registry of their prefix and the order of operations, which all operations on sessions share. */
class SessionContext {
  #registries;
  #cacheReads;
  /** Undefined unless saves detect conflicts, or sessions are indexed. */
  #queue;

  /**
   * @param {object} parts
   * @param {Settings} parts.settings
   * @param {Backend} parts.outbox
   * @param {CacheReads | undefined} parts.cacheReads
   * @param {number} parts.timeout
   * @param {(count: number) => boolean} parts.isQueueFull
   * @param {boolean} parts.isIndexed
   */
  constructor({ settings, outbox, cacheReads, timeout, isQueueFull, isIndexed }) {
    /** The settings of the operations that follow. */
    this.settings = settings;
    this.outbox = outbox;
    this.timeout = timeout;
    this.#cacheReads = cacheReads;
    this.#registries = new PerPrefix((prefix) => new SessionRegistry(settings.isConditional, prefix));
    /** The registry of the current prefix. */
    this.registry = this.#registries.get(settings.prefix);
    if (settings.isConditional || isIndexed)
      this.#queue = new KeyedQueue(timeout, isQueueFull, settings.stats);
  }

  /** The queue of a store whose saves may wait. */
  get queue() {
    return /** @type {InstanceType<typeof KeyedQueue>} */ (this.#queue);
  }

  /**
   * Applies settings to the operations that follow. Under another prefix, the same ids identify other sessions.
   *
   * @param {Settings} settings
   */
  use(settings) {
    const { prefix } = this.settings;
    this.settings = settings;
    if (settings.prefix === prefix) return;
    this.outbox.setPrefix(settings.prefix);
    this.registry = this.#registries.get(settings.prefix);
    this.#cacheReads?.use(settings.prefix);
  }

  /** Calls `run`, whose operations use these settings. @type {(settings: Settings, run: () => void) => void} */
  with(settings, run) {
    const current = this.settings;
    this.use(settings);
    run();
    this.use(current);
  }

  /** Returns true if operations on a session have to wait. @param {string} sid */
  isLocked(sid) {
    return this.#queue?.isLocked(this.settings.prefix, sid) === true;
  }

  /**
   * Queues an operation on a locked session. It begins later, with the settings that it was issued with.
   *
   * @type {(sid: string, name: string, callback: Callback, begin: (done: Callback) => void) => Closable | undefined}
   */
  enqueue(sid, name, callback, begin) {
    const issuedWith = this.settings;
    return this.#queue?.wait(issuedWith.prefix + sid, name, callback, (done) =>
      this.with(issuedWith, () => begin(done)),
    );
  }

  /** Returns a promise that resolves when no save is pending and no operation waits; null if that is the case. */
  whenIdle() {
    return this.#queue?.whenIdle() ?? null;
  }

  /** Notes that the session under an id is destroyed. @param {string} sid */
  noteDestroyed(sid) {
    this.registry.markDestroyed(sid);
    this.settings.lifetimes?.forget(this.settings, sid);
  }
}

module.exports = { SessionContext };
