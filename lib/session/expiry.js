'use strict';

const { Cookie } = require('../common/express-session.js');

/** @import { SessionCookie, SessionObject, Settings } from '../types.d.ts' */

/** The expiry of a key without one; core/src/session/expiry.rs has the same number. */
const NEVER = Number.MAX_SAFE_INTEGER;
/** The latest time that a Date can represent. */
const LATEST = 8_640_000_000_000_000;
/** Expiries that differ by at most this many ms count as equal; core/src/session/expiry.rs explains the number. */
const TOLERANCE = 90;

/**
 * Sets the cookie of a session that was read to the expiry in force.
 *
 * @type {(session: SessionObject, ends: number, isTimed: boolean, store: Settings) => void}
 */
function applyExpiry(session, ends, isTimed, store) {
  if (!isTimed) {
    // The addon has found a cookie with another expiry. JSON may contain two; the last one counts here.
    const cookie = session?.cookie;
    if (cookie !== null && typeof cookie === 'object')
      cookie.expires = typeof cookie.expires === 'number' ? ends : new Date(ends).toISOString();
  } else {
    try {
      renewExpiry(session, ends, store);
    } catch {
      // An app's `ttl` function or session threw: the stored expiry stays.
    }
  }
}

/**
 * Sets the cookie of a session that was read to the expiry in force, if the stored one differs: `touch` moves the
 * expiry of the key without rewriting the text. The addon does this for plain JSON; this function covers the cases that
 * only JavaScript can decide, and the client backend.
 *
 * @param {SessionObject} session
 * @param {number} ends expiry of the key, in ms since 1970
 * @param {Settings} store
 */
function renewExpiry(session, ends, store) {
  const cookie = session?.cookie;
  if (cookie === null || typeof cookie !== 'object' || !cookie.expires) return;
  const stored = new Date(cookie.expires).getTime();
  const now = Date.now();
  const inForce = expiryInForce(session, stored, ends, store, now);
  if (inForce === undefined || inForce > LATEST) return;
  if (stored > now && Math.abs(stored - inForce) <= TOLERANCE) return;
  setExpires(cookie, inForce);
}

/** Sets the expiry of a cookie, in ms since 1970, in the form of its present one. @param {SessionCookie} cookie @param {number} expires */
function setExpires(cookie, expires) {
  const { originalMaxAge } = cookie;
  const date = new Date(expires);
  // A frozen session stays unchanged.
  if (cookie.expires instanceof Date) Reflect.set(cookie, 'expires', date);
  else Reflect.set(cookie, 'expires', typeof cookie.expires === 'number' ? expires : date.toISOString());
  // The `expires` setter of express-session's `Cookie` has changed it to the remaining time.
  if (cookie.originalMaxAge !== originalMaxAge) Reflect.set(cookie, 'originalMaxAge', originalMaxAge);
}

/**
 * @type {(session: SessionObject, stored: number, ends: number, store: Settings, now: number) => number | undefined}
 */
function expiryInForce(session, stored, ends, store, now) {
  const maxAge = session.cookie?.originalMaxAge ?? 0;
  if (ends === NEVER) {
    // The key does not expire and the session is in use: the lifetime of its cookie starts again.
    return stored <= now && maxAge > 0 ? now + maxAge : undefined;
  }
  // The key may end earlier than the cookie, which a browser keeps for as long as it was told.
  if (store.lifetimes !== undefined) return Math.max(ends, stored);
  const { ttl } = store;
  if (typeof ttl !== 'function') return ends;
  // The key expires by the function, the cookie by its own age. Both count from the last touch, whose time follows from
  // the function's result for a cookie that was just renewed.
  if (!(maxAge > 0)) return undefined;
  const seconds = ttl.call(store, renewed(session, now + maxAge));
  if (!Number.isFinite(seconds)) return undefined;
  return Math.min(ends - seconds * 1000, now) + maxAge;
}

/** Returns a copy of the session as `touch` would see it. @param {SessionObject} session @param {number} expires */
function renewed(session, expires) {
  /** @type {SessionCookie} */
  // @ts-expect-error the types of express-session declare no constructor
  const cookie = new Cookie(session.cookie);
  cookie.expires = new Date(expires);
  cookie.originalMaxAge = session.cookie?.originalMaxAge;
  return Object.assign(Object.create(Object.getPrototypeOf(session)), session, { cookie });
}

module.exports = { applyExpiry, setExpires, NEVER };
