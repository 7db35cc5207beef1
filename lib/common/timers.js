'use strict';

const { AsyncResource } = require('node:async_hooks');
const { Socket } = require('node:net');
const timers = require('node:timers');
const { promisify } = require('node:util');
const { MessageChannel } = require('node:worker_threads');

/** @import { Timer } from '../types.d.ts' */
/** @typedef {<Args extends unknown[]>(callback: (...args: Args) => unknown, ...args: Args) => void} Schedule */

/**
 * Runs callbacks in the next turn of the event loop, by messages to this process, which no test runner replaces. One
 * message per callback, so that a callback that throws does not prevent the others.
 */
class TurnQueue {
  /** @type {(() => void)[]} */
  #callbacks = [];
  #refs = 0;
  /** @type {MessageChannel | undefined} */
  #channel;

  /** Calls a function in the next turn. @type {Schedule} */
  add(callback, ...args) {
    this.#callbacks.push(AsyncResource.bind(() => callback(...args)));
    this.ref().postMessage(undefined);
  }

  /** Keeps the process alive until the matching `unref`. Returns the port for messages. */
  ref() {
    this.#channel ??= this.#open();
    if (this.#refs++ === 0) this.#channel.port1.ref();
    return this.#channel.port2;
  }

  unref() {
    if (--this.#refs === 0) this.#channel?.port1.unref();
  }

  #open() {
    const channel = new MessageChannel();
    channel.port1.on('message', () => {
      const callback = this.#callbacks.shift();
      this.unref();
      callback?.();
    });
    channel.port1.unref();
    return channel;
  }
}

/** A timer based on the timeout of a socket that never connects, for which Node uses internal timers. */
class SocketTimer {
  /** @type {(() => void) | undefined} */
  #callback;
  #hasRef = true;

  /** @param {() => void} callback @param {number} ms */
  constructor(callback, ms) {
    this.#callback = AsyncResource.bind(callback);
    queue.ref();
    new Socket().setTimeout(Math.max(1, ms), () => this.#run());
  }

  #run() {
    const callback = this.#callback;
    this.clear();
    callback?.();
  }

  unref() {
    if (this.#hasRef) queue.unref();
    this.#hasRef = false;
    return this;
  }

  /**
   * Drops the callback. Leaves the socket's timeout, which does not keep the process alive: clearing it may call a
   * fake.
   */
  clear() {
    this.unref();
    this.#callback = undefined;
  }
}

const queue = new TurnQueue();
/** @type {Schedule} */
const nextTurn = (callback, ...args) => queue.add(callback, ...args);

/**
 * Returns true for Node's own function. The fake ones of test runners have another name, or a `clock`.
 *
 * @type {(timer: Function & { clock?: unknown }, name: string) => boolean}
 */
const isReal = (timer, name) => timer.name === name && timer.clock === undefined;

const areReal =
  isReal(timers.setTimeout, 'setTimeout') &&
  isReal(timers.setImmediate, 'setImmediate') &&
  promisify.custom in timers.setTimeout;

const resolved = Promise.resolve();
let now = 0;

/** Returns the time when it was first called in this tick: `Date.now` would take 4 % of the time of a `get`. */
function tickTime() {
  if (now === 0) {
    now = Date.now();
    resolved.then(() => {
      now = 0;
    });
  }
  return now;
}

/**
 * Node's own timers, or equivalents if a test runner installed fake timers before this module was loaded: Redis replies
 * in real time, not when the test advances its clock.
 *
 * @type {{
 *   STOPPED_MS: number,
 *   setTimeout: (callback: () => void, ms: number) => Timer,
 *   clearTimeout: (timer: any) => void,
 *   setImmediate: Schedule,
 *   nextTick: Schedule,
 *   tickTime: () => number,
 *   elapsed: () => number,
 * }}
 */
module.exports = {
  /** A timer that fires this many ms late fired after a stop of the process, or of its event loop. */
  STOPPED_MS: 1000,
  setTimeout: areReal ? timers.setTimeout : (callback, ms) => new SocketTimer(callback, ms),
  clearTimeout: areReal ? timers.clearTimeout : (/** @type {any} */ timer) => timer?.clear(),
  setImmediate: areReal ? timers.setImmediate : nextTurn,
  nextTick: isReal(process.nextTick, 'nextTick') ? process.nextTick : nextTurn,
  tickTime,
  /** Milliseconds by a monotonic clock, to measure durations. */
  elapsed: () => process.uptime() * 1000,
};
