'use strict';

const { describe } = require('./errors.js');
const { LONGEST_DELAY_MS } = require('./limits.js');
const { RedisStoreError } = require('./store-error.js');
const { clearTimeout, setTimeout } = require('./timers.js');

/** @import { Serializer } from '../../index.js' */

/**
 * Returns true if functions of the app take part in reading sessions. They must run in the async context of the call.
 *
 * @param {{ serializer: Serializer, ttl: unknown, lifetimes: { usesFunctions: boolean } | undefined }} settings
 */
function usesAppFunctions({ serializer, ttl, lifetimes }) {
  return serializer !== JSON || typeof ttl === 'function' || lifetimes?.usesFunctions === true;
}

/** @type {(value: any) => value is PromiseLike<any>} */
function isThenable(value) {
  return typeof value?.then === 'function';
}

/**
 * Returns the value that an app's function threw, or an error instead of a falsy one, which would mean success.
 *
 * @param {unknown} value
 */
function asError(value) {
  return (
    value ||
    new RedisStoreError(
      `A function of the app, such as "ttl" or one of the serializer, failed with ${describe(value)} ` +
        'in the place of an error',
      { code: 'ERR_APP_FUNCTION' },
    )
  );
}

/**
 * Creates the error of an operation that waited for the promise of the serializer, which cannot be cancelled.
 *
 * @param {string} operation
 */
function notSettled(operation) {
  return new RedisStoreError(
    `${operation} failed: serializer.parse returned a promise that was not settled by the operation's deadline (commandTimeout)`,
    { code: 'ERR_APP_FUNCTION', operation },
  );
}

/**
 * Returns the result of a promise of the serializer, or rejects after `ms`. The timer keeps the process alive, because the
 * operation is pending.
 *
 * @template T
 * @param {PromiseLike<T>} promise
 * @param {number} ms the remaining time of the operation
 * @param {string} operation
 * @returns {Promise<T>}
 */
function withTimeout(promise, ms, operation) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(notSettled(operation)),
      Math.min(Math.max(ms, 0), LONGEST_DELAY_MS),
    );
    const clearThen = (/** @type {(value: any) => void} */ done) => (/** @type {any} */ value) => {
      clearTimeout(timer);
      done(value);
    };
    Promise.resolve(promise).then(clearThen(resolve), clearThen(reject));
  });
}

module.exports = { withTimeout, isThenable, asError, usesAppFunctions };
