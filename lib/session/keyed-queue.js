'use strict';

const { AsyncResource } = require('node:async_hooks');
const { RedisStoreError } = require('../common/store-error.js');
const { clearTimeout, nextTick, setTimeout } = require('../common/timers.js');

/** @import { Callback, Statistics } from '../types.d.ts' */

/** An operation that waits for the lock of its session. Fails by the deadline of its call. */
class QueuedOperation extends AsyncResource {
  #begin;
  #callback;
  #timer;
  #isOver = false;
  #isBeginning = false;
  /** The next operation in the queue. @type {QueuedOperation | undefined} */
  next;

  /**
   * @param {string} name
   * @param {Callback} callback
   * @param {(done: Callback) => void} begin
   * @param {number} limit
   * @param {Statistics} stats
   */
  constructor(name, callback, begin, limit, stats) {
    super('RedisStore');
    this.#begin = begin;
    this.#callback = callback;
    const reason = `${name} failed: no reply within ${limit} ms: an earlier save of the session is still in flight`;
    this.#timer = setTimeout(() => {
      const error = new RedisStoreError(reason, { code: 'ERR_REDIS_TIMEOUT', operation: name });
      stats.reject(name, error);
      this.#complete(error, null);
    }, limit);
  }

  /** Ends the operation without a completion: it does not begin, or its result is dropped. */
  close() {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }

  /** Begins the operation, unless it has timed out or was closed. */
  run() {
    if (this.#isOver) return;
    this.#isBeginning = true;
    /** @type {Callback} */
    const done = (error, result) => this.#complete(error, result);
    // The requests of the operation find its trace.
    done.trace = this.#callback.trace;
    done.isOver = () => this.#isOver;
    this.runInAsyncScope(this.#begin, undefined, done);
    this.#isBeginning = false;
  }

  /** @param {unknown} error @param {unknown} result */
  #complete(error, result) {
    if (this.#isOver) return;
    this.close();
    // A callback that is called synchronously and throws must not stop the operations behind it.
    if (this.#isBeginning) nextTick(this.#callback, error, result);
    else this.#callback(error, result);
  }
}

/** The waiting operations of one session, first in, first out. */
class Queue {
  isLocked = true;
  /** @type {QueuedOperation | undefined} */
  #first;
  /** @type {QueuedOperation | undefined} */
  #last;

  /** @param {QueuedOperation} waiting */
  push(waiting) {
    if (this.#first === undefined || this.#last === undefined) this.#first = waiting;
    else this.#last.next = waiting;
    this.#last = waiting;
  }

  /** Removes and returns the first; undefined if there is none. */
  shift() {
    const first = this.#first;
    this.#first = first?.next;
    return first;
  }
}

/**
 * Locks sessions by key, in a store that detects conflicts. A conditional save may take several attempts; until it
 * completes, later operations on the session wait, so that none overtakes it.
 */
class KeyedQueue {
  /** The waiting operations, by the key of a session that is being saved. @type {Map<string, Queue>} */
  #queues = new Map();
  #count = 0;
  #limit;
  #isFull;
  #stats;
  /** @type {((value?: unknown) => void)[]} */
  #idle = [];

  /**
   * @param {number} limit the timeout of operations, in ms
   * @param {(count: number) => boolean} isFull returns true if no operation may wait in addition to this number
   * @param {Statistics} stats of the store
   */
  constructor(limit, isFull, stats) {
    this.#stats = stats;
    this.#limit = limit;
    this.#isFull = isFull;
  }

  /** @param {string} prefix @param {string} id */
  isLocked(prefix, id) {
    return this.#queues.size > 0 && this.#queues.has(prefix + id);
  }

  /** @param {string} key */
  lock(key) {
    const queue = this.#queues.get(key);
    if (queue === undefined) this.#queues.set(key, new Queue());
    else queue.isLocked = true;
  }

  /**
   * Queues an operation until the key is unlocked. Returns it, unless the queue is full.
   *
   * @param {string} key
   * @param {string} name
   * @param {Callback} callback
   * @param {(done: Callback) => void} begin receives the operation's callback, which does nothing after a timeout
   */
  wait(key, name, callback, begin) {
    if (this.#isFull(this.#count)) {
      const reason = `${name} failed: no connection, and ${this.#count} operations wait for earlier saves of their sessions ("maxQueue")`;
      const error = new RedisStoreError(reason, { code: 'ERR_REDIS_QUEUE_FULL', operation: name });
      this.#stats.reject(name, error);
      nextTick(callback, error, null);
      return undefined;
    }
    const queue = /** @type {Queue} */ (this.#queues.get(key));
    this.#count++;
    const waiting = new QueuedOperation(name, callback, begin, this.#limit, this.#stats);
    queue.push(waiting);
    return waiting;
  }

  /** Runs the waiting operations, up to the next one that locks the key. @param {string} key */
  unlock(key) {
    const queue = /** @type {Queue} */ (this.#queues.get(key));
    queue.isLocked = false;
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      this.#count--;
      next.run();
      if (queue.isLocked) return;
    }
    this.#queues.delete(key);
    if (this.#queues.size === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** Returns a promise that resolves when no key is locked and no operation waits; null if that is the case. */
  whenIdle() {
    if (this.#queues.size === 0) return null;
    return new Promise((resolve) => this.#idle.push(resolve));
  }
}

module.exports = { KeyedQueue, QueuedOperation };
