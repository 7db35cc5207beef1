'use strict';

const { isDate } = require('node:util').types;
const { outOfRange, wrongType, wrongValue } = require('../common/errors.js');

/** Beyond it, milliseconds are no longer exact: about 285,000 years. Redis's own bound is higher. */
const LONGEST_SECONDS = Number.MAX_SAFE_INTEGER / 1000;

/** From seconds to whole milliseconds, upwards: a lifetime above 0 never becomes 0. */
function milliseconds(seconds) {
  return Math.ceil(seconds * 1000);
}

/**
 * The lifetime of a session in milliseconds, by connect-redis's rules: the `ttl` function if there is
 * one, called as the method of the store that it is there; else the time to the cookie's expiry; else `ttl`.
 * @throws what the app's function throws; a TypeError or RangeError if there is no lifetime to be had.
 */
function lifetime(session, ttl, store) {
  if (typeof ttl === 'function') {
    const seconds = ttl.call(store, session);
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
  // An Invalid Date is no expiry: express-session reports it, and the session is not to be lost by it.
  return Number.isNaN(ends) ? milliseconds(ttl) : ends - Date.now();
}

/**
 * The time of an expiry in ms since 1970, NaN for an Invalid Date. express-session makes it a Date; what was parsed from
 * JSON has a string, other middleware a number.
 */
function time(expires) {
  if (!['object', 'string', 'number'].includes(typeof expires))
    throw wrongType('session.cookie.expires', 'a Date, or what a Date can be made of', expires);
  const ms = expires instanceof Date ? expires.getTime() : new Date(expires).getTime();
  if (Number.isNaN(ms) && !isDate(expires))
    throw wrongValue('session.cookie.expires', 'a valid date', undefined);
  return ms;
}

module.exports = { lifetime, time, LONGEST_SECONDS };
