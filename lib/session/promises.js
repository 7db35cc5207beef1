'use strict';

/** @import { HttpRequest, SessionObject } from '../types.d.ts' */

const METHODS = ['save', 'reload', 'regenerate', 'destroy'];

/**
 * Makes methods of a live session of express-session return promises if they are called without a callback.
 *
 * @param {SessionObject} session
 * @param {string[]} methods
 */
function promisify(session, methods) {
  for (const name of methods) {
    const method = session[name];
    /** @this {SessionObject} @param {unknown[]} args */
    const value = function (...args) {
      if (args[0] != null) return Reflect.apply(method, this, args);
      const promise = new Promise((resolve, reject) => {
        const done = (/** @type {unknown} */ error, /** @type {unknown} */ result) =>
          error ? reject(error) : resolve(result);
        Reflect.apply(method, this, [done]);
      });
      // Code that ignores the promise, as without this option, must not end the process by an unhandled rejection.
      promise.catch(() => {});
      return promise;
    };
    Object.defineProperty(session, name, { value, configurable: true, writable: true });
  }
}

/**
 * Makes the methods of a request's session return promises. express-session's middleware replaces two of them after it
 * has created the session, by functions that return nothing; so the first access after that replaces them again.
 *
 * @param {HttpRequest} request
 */
function offerPromises(request) {
  const { session } = request;
  if (session === undefined) return;
  promisify(session, METHODS);
  const { save } = session;
  const property = { enumerable: true, configurable: true };
  /** @param {unknown} value */
  const assign = (value) => Object.defineProperty(request, 'session', { ...property, value, writable: true });
  const get = () => {
    if (session.save !== save) {
      promisify(session, ['save', 'reload']);
      assign(session);
    }
    return session;
  };
  Object.defineProperty(request, 'session', { ...property, get, set: assign });
}

module.exports = { offerPromises };
