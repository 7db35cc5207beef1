'use strict';

const { AsyncResource } = require('node:async_hooks');
const { Socket } = require('node:net');
const timers = require('node:timers');
const { promisify } = require('node:util');
const { MessageChannel } = require('node:worker_threads');

/**
 * The next turn of the event loop, by a message to this process: no test runner replaces those. One message for each
 * callback, so that one that throws keeps no other from being called.
 */
class TurnQueue {
  #callbacks = [];
  #held = 0;
  #channel;

  /** Calls a function in the next turn. */
  add(callback, ...args) {
    this.#callbacks.push(AsyncResource.bind(() => callback(...args)));
    this.hold();
    this.#channel.port2.postMessage(undefined);
  }

  /** Keeps the process alive until `release`. */
  hold() {
    this.#channel ??= this.#open();
    if (this.#held++ === 0) this.#channel.port1.ref();
  }

  release() {
    if (--this.#held === 0) this.#channel.port1.unref();
  }

  #open() {
    const channel = new MessageChannel();
    channel.port1.on('message', () => {
      const callback = this.#callbacks.shift();
      this.release();
      callback();
    });
    channel.port1.unref();
    return channel;
  }
}

/** A timer by the time limit of a socket that is never connected, which Node keeps by timers that no one replaces. */
class SocketTimer {
  #callback;
  #isHeld = true;

  constructor(callback, ms) {
    this.#callback = AsyncResource.bind(callback);
    queue.hold();
    new Socket().setTimeout(Math.max(1, ms), () => this.#run());
  }

  #run() {
    const callback = this.#callback;
    this.clear();
    callback?.();
  }

  unref() {
    if (this.#isHeld) queue.release();
    this.#isHeld = false;
    return this;
  }

  /** The time limit of the socket, which keeps no process alive, goes on: its end may be a replaced function. */
  clear() {
    this.unref();
    this.#callback = undefined;
  }
}

const queue = new TurnQueue();
const nextTurn = (callback, ...args) => queue.add(callback, ...args);

/** Test runners put functions in the place of Node's: with another name, or with the clock that they go by. */
const isNodes = (timer, name) => timer.name === name && timer.clock === undefined;

const areNodes =
  isNodes(timers.setTimeout, 'setTimeout') &&
  isNodes(timers.setImmediate, 'setImmediate') &&
  timers.setTimeout[promisify.custom] !== undefined;

/**
 * Node's own timers, or others that work as they do where a test runner has replaced those before this module is
 * loaded, so that time stands still until the test has it go on: no answer of Redis waits for that.
 */
module.exports = {
  setTimeout: areNodes ? timers.setTimeout : (callback, ms) => new SocketTimer(callback, ms),
  clearTimeout: areNodes ? timers.clearTimeout : (timer) => timer?.clear(),
  setImmediate: areNodes ? timers.setImmediate : nextTurn,
  nextTick: isNodes(process.nextTick, 'nextTick') ? process.nextTick : nextTurn,
  /** Milliseconds by a clock that no one sets, for how long something takes. */
  elapsed: () => process.uptime() * 1000,
};
