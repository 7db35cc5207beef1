'use strict';

const { wrongType } = require('./common/errors.js');
const { setImmediate } = require('./common/timers.js');
const { runAbortable, signalOf } = require('./abort-signal.js');

/** @import { Callback, Closable } from './types.d.ts' */

/** Returns a promise for an operation that reports to a callback. @param {(callback: Callback) => void} run */
function toPromise(run) {
  return new Promise((resolve, reject) => {
    run((error, result) => (error ? reject(error) : resolve(result)));
  });
}

/**
 * Like `toPromise`, for a caller that passed `undefined` as its callback, as express-session does when the app
 * calls `session.destroy()`: it ignores the promise, so a rejection must not count as unhandled.
 *
 * @type {(isIgnored: boolean, run: (callback: Callback) => void) => Promise<any>}
 */
function toIgnorablePromise(isIgnored, run) {
  const promise = toPromise(run);
  if (isIgnored) promise.catch(() => {});
  return promise;
}

/** Stands for the result of a callback that has not been called yet. */
const PENDING = Symbol('pending');

/**
 * The promise that calls with a callback return, as in connect-redis. It is created on first use: express-session
 * and most apps ignore it, so it costs two small objects.
 *
 * It fulfils with the callback's return value and never rejects: the callback receives the operation's error.
 */
class LazyPromise {
  /** @type {any} */
  #returned = PENDING;
  /**
   * The promise and its `resolve`, created by the first `then`.
   *
   * @type {{ promise: Promise<any>, resolve: (value: any) => void } | undefined}
   */
  #deferred;

  /**
   * Wraps the caller's callback. Calls it outside any `try`, so that its exceptions reach the app.
   *
   * @type {(callback: Callback) => Callback}
   */
  wrap(callback) {
    if (typeof callback !== 'function') throw wrongType('The callback', 'a function', callback);
    return (error, result) => {
      // Set before the call, which may throw.
      this.#returned = undefined;
      if (this.#deferred !== undefined) this.#resolveLater();
      this.#returned = callback(error, result);
      if (this.#deferred !== undefined) this.#handleRejection();
    };
  }

  /** @type {Promise<any>['then']} */
  // biome-ignore lint/suspicious/noThenProperty: callers await it as a promise
  then(onFulfilled, onRejected) {
    if (this.#deferred === undefined) {
      /** @type {(value: any) => void} */
      let resolve = () => {};
      const promise = new Promise((resolvePromise) => {
        resolve = resolvePromise;
      });
      this.#deferred = { promise, resolve };
      if (this.#returned !== PENDING) {
        this.#handleRejection();
        this.#resolveLater();
      }
    }
    return this.#deferred.promise.then(onFulfilled, onRejected);
  }

  /**
   * A rejection of what the callback returned reaches the caller a turn later; until then, Node counts it as unhandled.
   */
  #handleRejection() {
    this.#returned = Promise.resolve(this.#returned);
    this.#returned.catch(() => {});
  }

  /** Resolves in a later turn of the event loop, so that code that awaits cache hits in a loop cannot block it. */
  #resolveLater() {
    setImmediate(() => this.#deferred?.resolve(this.#returned));
  }
}

// `catch` and `finally` are generic and call `then`.
Object.setPrototypeOf(LazyPromise.prototype, Promise.prototype);

/**
 * Runs an operation for a caller that may have passed options, a callback, or both in this order. Not for hot paths:
 * `run` is a closure.
 *
 * @type {(first: unknown, second: Callback | undefined, run: (callback: Callback) => Closable | undefined) =>
 *   PromiseLike<any>}
 */
function withOptions(first, second, run) {
  const callback = /** @type {Callback | undefined} */ (typeof first === 'function' ? first : second);
  const signal = typeof first === 'function' ? undefined : signalOf(first);
  /** @type {typeof run | ((callback: Callback) => void)} */
  const begin = signal === undefined ? run : (done) => runAbortable(signal, run, done);
  if (callback == null) return toPromise(begin);
  const promise = new LazyPromise();
  begin(promise.wrap(callback));
  return promise;
}

module.exports = { toPromise, toIgnorablePromise, withOptions, LazyPromise };
