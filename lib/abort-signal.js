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
    signal.removeEventListener('abort', abort);
    callback(error, result);
  });
  // A cache hit completes at once.
  if (!isOver) signal.addEventListener('abort', abort, { once: true });
}

module.exports = { runAbortable, signalOf };
