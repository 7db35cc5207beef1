'use strict';

const { describe } = require('../common/errors.js');
const { objectIds } = require('../common/object-ids.js');

/** Each function has a number, by which the addon knows it: stores with the same one can share a connection. */
const numberOf = objectIds();

/** Numbers below are seconds since 1970, or nothing: in milliseconds they are before March 1973. */
const SOONEST_MS = 1e11;

/** Milliseconds until credentials expire; undefined if they do not say. @throws if it is no time */
function timeLeft(expiresAt) {
  if (expiresAt == null) return undefined;
  const time = expiresAt instanceof Date ? expiresAt.getTime() : expiresAt;
  if (typeof time !== 'number' || !(time >= SOONEST_MS))
    throw new TypeError(
      `"expiresAt" must be a Date or milliseconds (not seconds) since 1970; received ${describe(expiresAt)}`,
    );
  return time - Date.now();
}

/** In the place of credentials: a user who has no password or, without a user, nobody. */
class Passwordless {
  constructor(username) {
    this.username = username;
  }
}

/**
 * What a `credentials` function gave, in the form that the addon takes.
 * @throws {TypeError} if it is not what such a function should give
 */
function checkedCredentials(given) {
  if (given instanceof Passwordless) {
    const { username } = given;
    return username === undefined ? {} : { username, password: { text: '' } };
  }
  if (given === null || typeof given !== 'object')
    throw new TypeError(`it must give an object with a "password"; received ${describe(given)}`);
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

/** Asks the app's function. Never throws and never rejects: what goes wrong is told to the connection. */
async function answerFor(credentials) {
  try {
    return { given: checkedCredentials(await credentials()) };
  } catch (error) {
    return { refusal: reasonOf(error) };
  }
}

function reasonOf(error) {
  try {
    return error instanceof Error ? `${error.name}: ${error.message}` : describe(error);
  } catch {
    return 'an error that cannot be read';
  }
}

/** Ends a subscription to a provider. A failure of that is the provider's own: no operation depends on it. */
async function dispose(subscription) {
  try {
    await subscription?.dispose?.();
  } catch {
    // Nothing is left to be ended.
  }
}

const forgotten = new FinalizationRegistry((leave) => leave());

/**
 * Has a provider that tells of each new password as it comes tell it to the store too: `give` is called with the
 * store and what the addon takes. The store is held weakly, and left alone by what the provider cannot give:
 * the next attempt to connect asks again.
 * @returns a function that takes this back
 */
function followProvider(provider, store, give) {
  const reference = new WeakRef(store);
  let left = false;
  let subscription;
  const leave = () => {
    left = true;
    dispose(subscription);
  };
  const onNext = (credentials) => {
    const live = reference.deref();
    if (live === undefined || left) return;
    try {
      give(live, checkedCredentials(credentials));
    } catch {
      // Nothing to be given.
    }
  };
  const subscribe = async () => {
    try {
      const begun = await provider.subscribe({ onNext, onError() {} });
      subscription = begun?.[1];
    } catch {
      // Attempts to connect fail in the same way, and report it.
    }
    if (left) dispose(subscription);
  };
  subscribe();
  forgotten.register(store, leave);
  return leave;
}

module.exports = { Passwordless, numberOf, answerFor, dispose, followProvider };
