'use strict';

const { isDate } = require('node:util').types;
const { fromEnvironment } = require('../common/env-vars.js');
const { outOfRange, wrongType, wrongValue } = require('../common/errors.js');
const { LONGEST_SECONDS } = require('../common/limits.js');

/** @import { SessionCookie, SessionObject, Settings } from '../types.d.ts' */

/**
 * Converts seconds to whole milliseconds. Rounds up, so that a lifetime above 0 never becomes 0.
 *
 * @param {number} seconds
 */
function milliseconds(seconds) {
  return Math.ceil(seconds * 1000);
}

/**
 * Returns the lifetime of a session in milliseconds, by connect-redis's rules: the result of the `ttl` function, called
 * as a method of the store as in connect-redis; else the time to the cookie's expiry; else `ttl`.
 *
 * @param {SessionObject} session
 * @param {Settings['ttl']} ttl
 * @param {Settings} store
 * @throws the exception of the app's function; a TypeError or RangeError if its result or the expiry is invalid
 */
function lifetime(session, ttl, store) {
  if (typeof ttl === 'function') {
    const seconds = fromEnvironment(ttl.call(store, session));
    if (typeof seconds !== 'number')
      throw wrongType('What the "ttl" function returns', 'a number of seconds', seconds);
    if (Number.isNaN(seconds) || seconds > LONGEST_SECONDS)
      throw outOfRange(
        'What the "ttl" function returns',
        `a number of at most ${LONGEST_SECONDS} seconds`,
        seconds,
      );
    return milliseconds(seconds);
  }
  const expires = session.cookie?.expires;
  const ends = expires ? time(expires) : Number.NaN;
  // An Invalid Date counts as no expiry: express-session reports it, and the session must not be lost.
  return Number.isNaN(ends) ? milliseconds(ttl) : ends - Date.now();
}

/**
 * Converts an expiry to ms since 1970, NaN for an Invalid Date. express-session uses a Date, parsed JSON has a string,
 * other middleware a number.
 *
 * @param {NonNullable<SessionCookie['expires']>} expires
 */
function time(expires) {
  if (!['object', 'string', 'number'].includes(typeof expires))
    throw wrongType('session.cookie.expires', 'a Date, or what a Date can be made of', expires);
  const ms = expires instanceof Date ? expires.getTime() : new Date(expires).getTime();
  if (Number.isNaN(ms) && !isDate(expires))
    throw wrongValue('session.cookie.expires', 'a valid date', undefined);
  return ms;
}

/**
 * Returns the lifetime of a session that expired since it was loaded, during a long request: the full lifetime again,
 * which express-session would set at the end of the request. Returns `ttl` if the app ended the session by its
 * cookie: that leaves no `originalMaxAge` above 0, or an expiry before the time `aliveSince` when it was alive.
 *
 * @type {(session: SessionObject, ttl: number, store: Settings, aliveSince: () => number) => number}
 */
function renewedLifetime(session, ttl, store, aliveSince) {
  const { cookie } = session;
  const maxAge = cookie?.originalMaxAge;
  if (typeof maxAge !== 'number' || !(maxAge > 0) || !cookie?.expires) return ttl;
  const since = aliveSince();
  const { expires } = cookie;
  const now = Date.now();
  if (!(time(expires) >= since && time(expires) <= now)) return ttl;
  cookie.expires = new Date(now + maxAge);
  cookie.originalMaxAge = maxAge;
  if (typeof store.ttl !== 'function') return Math.ceil(maxAge);
  const renewedTtl = lifetime(session, store.ttl, store);
  if (renewedTtl > 0) return renewedTtl;
  // The `ttl` function ends the session regardless of its cookie, which is restored.
  cookie.expires = expires;
  cookie.originalMaxAge = maxAge;
  return ttl;
}

/** Returns the lifetime of a key in ms: 0 for an endless one. @param {number} ttl */
function keyLifetime(ttl) {
  return ttl === Number.POSITIVE_INFINITY ? 0 : ttl;
}

module.exports = { keyLifetime, lifetime, renewedLifetime, time };
