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

/**
 * Whose turn it is, key by key, in a store that looks for conflicts. A save may take several attempts; until it is
 * over, what the app asks for after it waits, so that nothing overtakes it.
 */
class Turns {
  /** Those that wait, by the key of a session whose save is under way. */
  #queues = new Map();
  #limit;
  #idle = [];

  /** @param limit the time that operations have, in ms */
  constructor(limit) {
    this.#limit = limit;
  }

  isTaken(key) {
    return this.#queues.has(key);
  }

  take(key) {
    this.#queues.set(key, []);
  }

  /** @param begin gets the callback to be called, which is `callback` until the time is over */
  wait(key, name, callback, begin) {
    this.#queues.get(key).push(new Waiting(name, callback, begin, this.#limit));
  }

  /** The save is over. */
  leave(key) {
    const queue = this.#queues.get(key);
    this.#queues.delete(key);
    while (queue.length > 0) {
      queue.shift().run();
      const taken = this.#queues.get(key);
      if (taken !== undefined) {
        taken.push(...queue);
        return;
      }
    }
    if (this.#queues.size === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** Resolves when no save is under way and nothing waits; null if that is so. */
  whenIdle() {
    if (this.#queues.size === 0) return null;
    return new Promise((resolve) => this.#idle.push(resolve));
  }
}

module.exports = { Turns };
