'use strict';

const { wrongType } = require('./common/errors.js');
const { setImmediate } = require('./common/timers.js');

/** Without a callback, a promise. */
function promised(run) {
  return new Promise((resolve, reject) => {
    run((error, result) => (error ? reject(error) : resolve(result)));
  });
}

/**
 * The same for a caller that passed `undefined` as its callback, as express-session does when the app
 * calls `session.destroy()`: it ignores the promise, so its rejection must not count as unhandled.
 */
function forgettable(isIgnored, run) {
  const promise = promised(run);
  if (isIgnored) promise.catch(() => {});
  return promise;
}

/** The callback has not been called. */
const PENDING = Symbol('pending');

/**
 * Returned by calls that have a callback: a promise, as connect-redis returns one, that is only made when it is used.
 * express-session and most apps ignore it, so it costs two small objects.
 *
 * It fulfils with what the callback returns and rejects for nothing else: the callback has the error of the operation.
 */
class LazyPromise {
  #returned = PENDING;
  /** The promise and its `resolve`, once someone has asked for it. */
  #made;

  /** The callback of the operation. Calls the caller's in no `try`: what that throws is the app's. */
  settledBy(callback) {
    if (typeof callback !== 'function') throw wrongType('The callback', 'a function', callback);
    return (error, result) => {
      // Before the call, which may throw.
      this.#returned = undefined;
      if (this.#made !== undefined) this.#resolveLater();
      this.#returned = callback(error, result);
      if (this.#made !== undefined) this.#handleRejection();
    };
  }

  // biome-ignore lint/suspicious/noThenProperty: callers await it as a promise
  then(onFulfilled, onRejected) {
    if (this.#made === undefined) {
      let resolve;
      const promise = new Promise((settle) => {
        resolve = settle;
      });
      this.#made = { promise, resolve };
      if (this.#returned !== PENDING) {
        this.#handleRejection();
        this.#resolveLater();
      }
    }
    return this.#made.promise.then(onFulfilled, onRejected);
  }

  /** A rejection of what the callback returned reaches the caller a turn later; until then, Node counts it as unhandled. */
  #handleRejection() {
    this.#returned = Promise.resolve(this.#returned);
    this.#returned.catch(() => {});
  }

  /** Resolves in a later turn of the event loop: a loop that awaits cache hits must not keep it from turning. */
  #resolveLater() {
    setImmediate(() => this.#made.resolve(this.#returned));
  }
}

// `catch` and `finally` are generic and call `then`.
Object.setPrototypeOf(LazyPromise.prototype, Promise.prototype);

module.exports = { promised, forgettable, LazyPromise };
