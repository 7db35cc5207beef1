'use strict';

const { AsyncResource } = require('node:async_hooks');
const { coded } = require('../common/errors.js');
const { clearTimeout, nextTick, setTimeout } = require('../common/timers.js');

/** An operation that waits for its turn, and ends by the deadline of its call in any case. */
class Waiting extends AsyncResource {
  #begin;
  #callback;
  #timer;
  #isOver = false;
  #isBeginning = false;
  /** The one after it in its queue. */
  next;

  constructor(name, callback, begin, limit) {
    super('RedisStore');
    this.#begin = begin;
    this.#callback = callback;
    const reason = `${name}: no answer within ${limit} ms: an earlier save of the session was not over`;
    this.#timer = setTimeout(() => this.#settle(coded(Error, 'ERR_REDIS_TIMEOUT', reason), null), limit);
  }

  /** What has run out of time is not begun any more. */
  run() {
    if (this.#isOver) return;
    this.#isBeginning = true;
    this.runInAsyncScope(this.#begin, undefined, (error, result) => this.#settle(error, result));
    this.#isBeginning = false;
  }

  #settle(error, result) {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#timer);
    // What is answered at once must not hold up, by a throw, those who wait behind it.
    if (this.#isBeginning) nextTick(this.#callback, error, result);
    else this.#callback(error, result);
  }
}

/** Operations on one session that wait, first in first out. */
class Queue {
  #first;
  #last;

  push(waiting) {
    if (this.#first === undefined) this.#first = waiting;
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
 * Whose turn it is, key by key, in a store that looks for conflicts. A save may take several attempts; until it is
 * over, what the app asks for after it waits, so that nothing overtakes it.
 */
class KeyedQueue {
  /** Those that wait, by the key of a session whose save is under way. */
  #queues = new Map();
  #count = 0;
  #limit;
  #isFull;
  #idle = [];

  /**
   * @param limit the time that operations have, in ms
   * @param isFull returns true if so many operations that wait are as many as may wait
   */
  constructor(limit, isFull) {
    this.#limit = limit;
    this.#isFull = isFull;
  }

  isTaken(key) {
    return this.#queues.has(key);
  }

  take(key) {
    if (!this.#queues.has(key)) this.#queues.set(key, { waiting: new Queue(), isTaken: true });
    else this.#queues.get(key).isTaken = true;
  }

  /** @param begin gets the callback to be called, which is `callback` until the time is over */
  wait(key, name, callback, begin) {
    if (this.#isFull(this.#count)) {
      const reason = `${name}: no connection, and ${this.#count} operations wait for earlier saves of their sessions ("maxQueue")`;
      nextTick(callback, coded(Error, 'ERR_REDIS_QUEUE_FULL', reason), null);
      return;
    }
    this.#count++;
    this.#queues.get(key).waiting.push(new Waiting(name, callback, begin, this.#limit));
  }

  /** The save is over. */
  leave(key) {
    const queue = this.#queues.get(key);
    queue.isTaken = false;
    for (let next = queue.waiting.shift(); next !== undefined; next = queue.waiting.shift()) {
      this.#count--;
      next.run();
      if (queue.isTaken) return;
    }
    this.#queues.delete(key);
    if (this.#queues.size === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** Resolves when no save is under way and nothing waits; null if that is so. */
  whenIdle() {
    if (this.#queues.size === 0) return null;
    return new Promise((resolve) => this.#idle.push(resolve));
  }
}

module.exports = { KeyedQueue };
