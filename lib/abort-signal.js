'use strict';

const { AsyncResource } = require('node:async_hooks');
const { wrongType } = require('./common/errors.js');
const { nextTick } = require('./common/timers.js');
const { checkSignal } = require('./options.js');

/** @import { Callback, Closable } from './types.d.ts' */

/**
 * Returns the signal in the options that an operation received, in the place of a callback.
 *
 * @param {any} options
 * @returns {AbortSignal | undefined}
 * @throws {TypeError} if the value is neither nullish nor an object of options, or the signal is none
 */
function signalOf(options) {
  if (options == null) return undefined;
  if (typeof options === 'object' && ('signal' in options || isEmpty(options))) return checkSignal(options);
  throw wrongType('The callback', 'a function, or an object of options such as { signal }', options);
}

/** Returns true for `{}`, but not for an object of a class, such as a signal. @param {object} object */
function isEmpty(object) {
  return Object.prototype.toString.call(object) === '[object Object]' && Object.keys(object).length === 0;
}

/** The listener of a signal, which its pending operations share: Node warns of a signal that has more than ten. */
class AbortListener {
  /** @type {WeakMap<AbortSignal, AbortListener>} */
  static #listeners = new WeakMap();
  #signal;
  /** The functions that abort the operations. @type {Set<() => void>} */
  #aborts = new Set();

  /** @param {AbortSignal} signal */
  constructor(signal) {
    this.#signal = signal;
    AbortListener.#listeners.set(signal, this);
  }

  /** Returns the listener of a signal. @param {AbortSignal} signal */
  static of(signal) {
    return AbortListener.#listeners.get(signal) ?? new AbortListener(signal);
  }

  /** @param {() => void} abort */
  add(abort) {
    if (this.#aborts.size === 0) this.#signal.addEventListener('abort', this);
    this.#aborts.add(abort);
  }

  /** @param {() => void} abort */
  delete(abort) {
    this.#aborts.delete(abort);
    if (this.#aborts.size === 0) this.#signal.removeEventListener('abort', this);
  }

  handleEvent() {
    for (const abort of this.#aborts) {
      this.delete(abort);
      abort();
    }
  }
}

/**
 * Runs an operation until its signal is aborted. The callback then receives the signal's reason in the next tick, in the
 * async context of the call, and a later completion is ignored.
 *
 * @param {AbortSignal} signal
 * @param {(callback: Callback) => Closable | undefined} run returns what is to be closed if the signal is aborted
 * @param {Callback} callback
 */
function runAbortable(signal, run, callback) {
  const scope = new AsyncResource('RedisStore');
  const listener = AbortListener.of(signal);
  let isOver = false;
  /** @type {Closable | undefined} */
  let operation;
  const abort = () => {
    isOver = true;
    operation?.close();
    // A falsy reason would mean success.
    const reason = signal.reason || new DOMException('This operation was aborted', 'AbortError');
    scope.runInAsyncScope(nextTick, undefined, callback, reason, null);
  };
  if (signal.aborted) {
    abort();
    return;
  }
  operation = run((error, result) => {
    if (isOver) return;
    isOver = true;
    listener.delete(abort);
    callback(error, result);
  });
  // A cache hit completes at once.
  if (!isOver) listener.add(abort);
}

module.exports = { runAbortable, signalOf };
