'use strict';

const { outOfRange, wrongType, wrongValue } = require('./errors.js');

/** 2^53 - 1 ms: beyond it, milliseconds are no longer exact. Redis's own bound is higher. */
const LONGEST = Number.MAX_SAFE_INTEGER;

/** From seconds to whole milliseconds, upwards: a lifetime above 0 never becomes 0. */
function milliseconds(seconds) {
  return Math.min(Math.ceil(seconds * 1000), LONGEST);
}

/**
 * The lifetime of a session in milliseconds, by connect-redis's rules: the `ttl` function if there is
 * one; else the time to the cookie's expiry; else `ttl`.
 * @throws what the app's function throws; a TypeError or RangeError if there is no lifetime to be had.
 */
function lifetime(session, ttl) {
  if (typeof ttl === 'function') {
    const seconds = ttl(session);
    if (typeof seconds !== 'number')
      throw wrongType('What the "ttl" function returns', 'a number of seconds', seconds);
    if (!Number.isFinite(seconds))
      throw outOfRange('What the "ttl" function returns', 'a finite number of seconds', seconds);
    return milliseconds(seconds);
  }
  const expires = session.cookie?.expires;
  if (!expires) return milliseconds(ttl);
  const time = new Date(expires).getTime();
  if (Number.isNaN(time)) throw wrongValue('session.cookie.expires', 'a valid date', undefined);
  return time - Date.now();
}

module.exports = { lifetime };
