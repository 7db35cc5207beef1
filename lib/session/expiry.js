'use strict';

const { Cookie } = require('express-session');

/** The end of what has none; core/src/session/expiry.rs knows the same number. */
const NEVER = Number.MAX_SAFE_INTEGER;
/** The last moment that a Date can hold. */
const LATEST = 8_640_000_000_000_000;
/** A difference that is none, in ms; core/src/session/expiry.rs has the same, and why. */
const TOLERANCE = 90;

/** Puts the expiry in force into a session that was read. */
function putExpiry(session, ends, isTimed, store) {
  if (!isTimed) {
    // The addon has found a cookie with another expiry. JSON may have two, of which the last counts here.
    const cookie = session?.cookie;
    if (cookie !== null && typeof cookie === 'object')
      cookie.expires = typeof cookie.expires === 'number' ? ends : new Date(ends).toISOString();
  } else {
    try {
      renewExpiry(session, ends, store);
    } catch {
      // An app's `ttl` or session that throws: what is stored has to do.
    }
  }
}

/**
 * Puts the expiry that is in force into a session that was read, where the stored one is another: `touch`
 * moves the end of the key and leaves the text alone. The addon does this for plain JSON; here are the
 * cases that only JavaScript can decide.
 *
 * @param ends when the key ends, ms since 1970
 */
function renewExpiry(session, ends, store) {
  const cookie = session?.cookie;
  if (cookie === null || typeof cookie !== 'object' || !cookie.expires) return;
  const stored = new Date(cookie.expires).getTime();
  const now = Date.now();
  const inForce = expiryInForce(session, stored, ends, store, now);
  if (inForce === undefined || inForce > LATEST) return;
  if (stored > now && Math.abs(stored - inForce) <= TOLERANCE) return;
  const { originalMaxAge } = cookie;
  const date = new Date(inForce);
  // As the stored one is. A session may be frozen: then it stays as it is.
  if (cookie.expires instanceof Date) Reflect.set(cookie, 'expires', date);
  else Reflect.set(cookie, 'expires', typeof cookie.expires === 'number' ? inForce : date.toISOString());
  // A `Cookie` of express-session takes what is left for its whole age.
  if (cookie.originalMaxAge !== originalMaxAge) Reflect.set(cookie, 'originalMaxAge', originalMaxAge);
}

function expiryInForce(session, stored, ends, store, now) {
  const maxAge = session.cookie.originalMaxAge;
  if (ends === NEVER) {
    // Alive without an end, and in use: its cookie's time begins anew.
    return stored <= now && maxAge > 0 ? now + maxAge : undefined;
  }
  const { ttl } = store;
  if (typeof ttl !== 'function') return ends;
  // The key ends when the function said, the cookie when its own time is over. Both count from the last
  // touch: what the function says of a cookie just renewed tells when that was.
  if (!(maxAge > 0)) return undefined;
  const seconds = ttl.call(store, renewed(session, now + maxAge));
  if (!Number.isFinite(seconds)) return undefined;
  return Math.min(ends - seconds * 1000, now) + maxAge;
}

/** The session as `touch` would see it, without a change of the session itself. */
function renewed(session, expires) {
  const { originalMaxAge } = session.cookie;
  const cookie = new Cookie(session.cookie);
  cookie.expires = new Date(expires);
  cookie.originalMaxAge = originalMaxAge;
  return Object.assign(Object.create(Object.getPrototypeOf(session)), session, { cookie });
}

module.exports = { putExpiry, NEVER };
