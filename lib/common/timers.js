'use strict';

const { AsyncResource } = require('node:async_hooks');
const { Socket } = require('node:net');
const timers = require('node:timers');
const { promisify } = require('node:util');
const { MessageChannel } = require('node:worker_threads');

/**
 * Runs callbacks in the next turn of the event loop, by messages to this process, which no test runner replaces. One
 * message per callback, so that a callback that throws does not prevent the others.
 */
class TurnQueue {
  #callbacks = [];
  #refs = 0;
  #channel;

  /** Calls a function in the next turn. */
  add(callback, ...args) {
    this.#callbacks.push(AsyncResource.bind(() => callback(...args)));
    this.ref();
    this.#channel.port2.postMessage(undefined);
  }

  /** Keeps the process alive until the matching `unref`. */
  ref() {
    this.#channel ??= this.#open();
    if (this.#refs++ === 0) this.#channel.port1.ref();
  }

  unref() {
    if (--this.#refs === 0) this.#channel.port1.unref();
  }

  #open() {
    const channel = new MessageChannel();
    channel.port1.on('message', () => {
      const callback = this.#callbacks.shift();
      this.unref();
      callback();
    });
    channel.port1.unref();
    return channel;
  }
}

/** A timer based on the timeout of a socket that never connects, for which Node uses internal timers. */
class SocketTimer {
  #callback;
  #hasRef = true;

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
const nextTurn = (callback, ...args) => queue.add(callback, ...args);

/** Returns true for Node's own function. The fake ones of test runners have another name, or a `clock`. */
const isReal = (timer, name) => timer.name === name && timer.clock === undefined;

const areReal =
  isReal(timers.setTimeout, 'setTimeout') &&
  isReal(timers.setImmediate, 'setImmediate') &&
  timers.setTimeout[promisify.custom] !== undefined;

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
 */
module.exports = {
  setTimeout: areReal ? timers.setTimeout : (callback, ms) => new SocketTimer(callback, ms),
  clearTimeout: areReal ? timers.clearTimeout : (timer) => timer?.clear(),
  setImmediate: areReal ? timers.setImmediate : nextTurn,
  nextTick: isReal(process.nextTick, 'nextTick') ? process.nextTick : nextTurn,
  tickTime,
  /** Milliseconds by a monotonic clock, to measure durations. */
  elapsed: () => process.uptime() * 1000,
};
