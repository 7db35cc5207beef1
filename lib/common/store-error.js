'use strict';

/** @import { ErrorCode } from '../../index.js' */
/** @import { ErrorDetails } from '../types.d.ts' */

/** The codes of failures that may be over when the same call is made again. */
const RETRYABLE = new Set([
  'ERR_REDIS_UNAVAILABLE',
  'ERR_REDIS_TIMEOUT',
  'ERR_REDIS_QUEUE_FULL',
  'ERR_CREDENTIALS',
]);

/** The error of an operation or a connection. Contains no password, session data or session id, nor does its cause. */
class RedisStoreError extends Error {
  /** @param {string} message @param {ErrorDetails} details */
  constructor(message, { code, operation, address, port, attempts, retryable, reply, position, cause }) {
    super(message, cause === undefined ? undefined : { cause: causeError(cause) });
    this.code = code;
    this.retryable = retryable ?? RETRYABLE.has(code);
    for (const [name, value] of Object.entries({ operation, address, port, attempts, reply, position }))
      if (value !== undefined) /** @type {any} */ (this)[name] = value;
  }

  /** Returns all properties but the stack, for `JSON.stringify` and messages to other threads. */
  toJSON() {
    const { name, message, cause } = this;
    const properties = Object.assign({ name, message }, this);
    if (!(cause instanceof Error)) return properties;
    return { ...properties, cause: Object.assign({ message: cause.message }, cause) };
  }
}

// Not enumerable, as in Node's own classes of errors.
Object.defineProperty(RedisStoreError.prototype, 'name', {
  value: 'RedisStoreError',
  configurable: true,
  writable: true,
});

/** Returns the cause as an Error. @param {NonNullable<ErrorDetails['cause']>} cause */
function causeError(cause) {
  if (cause instanceof Error) return cause;
  const { message, ...details } = cause;
  const error = Object.assign(new Error(message), details);
  // It did not occur here.
  error.stack = `Error: ${message}`;
  return error;
}

/** @param {string} operation */
function storeClosed(operation) {
  return new RedisStoreError(`${operation} failed: the store is closed`, {
    code: 'ERR_STORE_CLOSED',
    operation,
  });
}

/** @param {string} operation @param {string} client the name of the client in error messages */
function clientClosed(operation, client) {
  return new RedisStoreError(
    `${operation} failed: ${client} is closed, or has given up reconnecting; the store serves again when the client connects`,
    { code: 'ERR_STORE_CLOSED', operation },
  );
}

/** Creates an error from its JSON, which the addon and the client backend write. @param {string} json */
function fromNative(json) {
  const { message, ...details } = JSON.parse(json);
  return new RedisStoreError(message, details);
}

module.exports = { RedisStoreError, storeClosed, clientClosed, fromNative };
