'use strict';

const { describe } = require('../common/errors.js');
const { objectIds } = require('../common/object-ids.js');

/** @import { ProvidedCredentials } from '../binding.js' */
/** @import { StreamingProvider } from '../types.d.ts' */

/** @typedef {{ dispose?: () => unknown }} Subscription */

/** Returns the number by which the addon identifies a function: stores with the same one can share a connection. */
const numberOf = objectIds();

/** Lower numbers are probably seconds since 1970: in milliseconds they are before March 1973. */
const SOONEST_MS = 1e11;

/**
 * Returns the ms until credentials expire; undefined if they have no expiry.
 *
 * @param {unknown} expiresAt
 * @throws {TypeError} if it is invalid
 */
function timeLeft(expiresAt) {
  if (expiresAt == null) return undefined;
  const time = expiresAt instanceof Date ? expiresAt.getTime() : expiresAt;
  if (typeof time !== 'number' || !(time >= SOONEST_MS))
    throw new TypeError(
      `"expiresAt" must be a Date or milliseconds (not seconds) since 1970; received ${describe(expiresAt)}`,
    );
  return time - Date.now();
}

/** Stands for credentials without a password: a user alone or, without a user, no authentication. */
class Passwordless {
  /** @param {string | undefined} username */
  constructor(username) {
    this.username = username;
  }
}

/**
 * Converts the result of a `credentials` function to the form that the addon takes.
 *
 * @param {any} given
 * @returns {ProvidedCredentials}
 * @throws {TypeError} if it is invalid
 */
function checkedCredentials(given) {
  if (given instanceof Passwordless) {
    const { username } = given;
    return username === undefined ? {} : { username, password: { text: '' } };
  }
  if (given === null || typeof given !== 'object')
    throw new TypeError(`it must return an object with a "password"; received ${describe(given)}`);
  const { username, password, expiresAt } = given;
  if (typeof password !== 'string' || password === '')
    throw new TypeError(`"password" must be a string that is not empty; received ${describe(password)}`);
  if (username != null && typeof username !== 'string')
    throw new TypeError(`"username" must be a string; received ${describe(username)}`);
  return {
    username: username || undefined,
    password: { text: password },
    expiresIn: timeLeft(expiresAt),
  };
}

/**
 * Calls the app's function. Never throws or rejects: returns the reason as `failure`, for the connection.
 *
 * @param {(() => unknown) | undefined} provide
 */
async function requestCredentials(provide) {
  try {
    return { credentials: checkedCredentials(await provide?.()) };
  } catch (error) {
    return { failure: reasonOf(error) };
  }
}

/** @param {unknown} error */
function reasonOf(error) {
  try {
    return error instanceof Error ? `${error.name}: ${error.message}` : describe(error);
  } catch {
    return 'an error that cannot be read';
  }
}

/**
 * Ends a subscription to a provider. Ignores errors, because no operation depends on it.
 *
 * @param {Subscription | undefined} subscription
 */
async function dispose(subscription) {
  try {
    await subscription?.dispose?.();
  } catch {
    // The subscription is not used any more.
  }
}

/** @type {FinalizationRegistry<() => void>} */
const collected = new FinalizationRegistry((unfollow) => unfollow());

/**
 * Subscribes a store to a provider that pushes new passwords: calls `renew` with the store and the credentials in the
 * form that the addon takes. Holds the store weakly. Ignores invalid credentials and errors of the provider: the next
 * attempt to connect calls it again.
 *
 * @template {object} Store
 * @param {StreamingProvider} provider
 * @param {Store} store
 * @param {(store: Store, credentials: ProvidedCredentials) => void} renew
 * @returns a function that ends the subscription
 */
function followProvider(provider, store, renew) {
  const reference = new WeakRef(store);
  let isEnded = false;
  /** @type {Subscription | undefined} */
  let subscription;
  const unfollow = () => {
    isEnded = true;
    dispose(subscription);
  };
  const onNext = (/** @type {unknown} */ credentials) => {
    const live = reference.deref();
    if (live === undefined || isEnded) return;
    try {
      renew(live, checkedCredentials(credentials));
    } catch {
      // Invalid credentials.
    }
  };
  const subscribe = async () => {
    try {
      const result = await provider.subscribe({ onNext, onError() {} });
      subscription = result?.[1];
    } catch {
      // Attempts to connect fail for the same reason, and report it.
    }
    if (isEnded) dispose(subscription);
  };
  subscribe();
  collected.register(store, unfollow);
  return unfollow;
}

module.exports = { Passwordless, numberOf, requestCredentials, dispose, followProvider };
