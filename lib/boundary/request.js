'use strict';

const { AsyncResource } = require('node:async_hooks');
const { asError } = require('../common/app-functions.js');
const { fromNative } = require('../common/store-error.js');
const { nextTick } = require('../common/timers.js');

/** @import { Callback, Receiver, Settings } from '../types.d.ts' */

/**
 * The kinds of completions (`MASK`), and flags that are added to them: the text is in the two-byte string; the time at
 * which the session expires follows; the text is a string of its own. src/slice.rs has the same numbers.
 */
const Kind = {
  DONE: 0,
  MISSING: 1,
  SESSION: 2,
  ITEM: 3,
  ID: 4,
  COUNT: 5,
  FAILED: 6,
  EVENT: 7,
  ENDED: 8,
  MORE: 9,
  CONFLICT: 10,
  TOO_LONG: 12,
  SERVED: 13,
  MASK: 15,
  TWO_BYTE: 16,
  TIMED: 32,
  LARGE: 64,
};

/**
 * A pending request. As an AsyncResource, it runs its callback in the async context of the call (AsyncLocalStorage),
 * regardless of which request woke the event loop.
 */
class Request extends AsyncResource {
  /**
   * @param {Settings} store
   * @param {Callback} callback
   * @param {string | undefined} operation the name in statistics, if it has any
   */
  constructor(store, callback, operation) {
    super('RedisStore');
    this.store = store;
    this.callback = callback;
    this.operation = operation;
  }

  /** The trace of the operation, which its callback carries. */
  get trace() {
    return this.callback.trace;
  }

  /** @type {Receiver['complete']} */
  complete(kind, text) {
    if (kind === Kind.FAILED) this.fail(fromNative(text));
    else this.succeed(null);
  }

  /** @param {unknown} result */
  succeed(result) {
    callIn(this, this.callback, null, result);
  }

  /** @param {unknown} reason an error, or the value that an app's function threw */
  fail(reason) {
    const error = asError(reason);
    this.store.stats.fail(this.operation, error);
    callIn(this, this.callback, error, null);
  }
}

/**
 * Calls a callback in the async context of `scope`, outside any `try`, so that its exceptions reach the app.
 *
 * @type {(scope: AsyncResource, callback: Callback, error: unknown, result: unknown) => void}
 */
function callIn(scope, callback, error, result) {
  // In a domain of `node:domain`, the callback runs in a later tick: this scope would leave the domain before the
  // domain catches the exception of the callback.
  if (/** @type {any} */ (scope).domain !== undefined)
    scope.runInAsyncScope(nextTick, undefined, callback, error, result);
  else scope.runInAsyncScope(callback, undefined, error, result);
}

module.exports = { Kind, Request, callIn };
