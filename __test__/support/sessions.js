'use strict';

const { Cookie, Session } = require('express-session');
const { sessionHash } = require('../../lib/observability/session-hash.js');

const HOUR = 60 * 60 * 1000;

/**
 * Returns a session as express-session passes it to a store: a live Session, whose `req` and `id` are not
 * enumerable, with a Cookie that has a `toJSON`.
 *
 * @param {string} id
 * @param {object} data what the app stores in the session
 * @param {object} cookie options of express-session's `cookie`; `maxAge` in ms, null for a cookie without an expiry
 */
function liveSession(id, data = {}, cookie = { maxAge: HOUR }) {
  return new Session({ sessionID: id }, { cookie: new Cookie(cookie), ...data });
}

/** Returns the enumerable properties of the event of a discarded save, which JSON carries. */
function discardOf(id) {
  return { operation: 'set', sessionHash: sessionHash(id) };
}

/** Returns what a shop stores for a visitor who is signed in: about half a kilobyte of JSON. */
function shopVisitor(number = 1) {
  return {
    user: { id: number, name: `Visitor ${number}`, email: `visitor${number}@shop.example`, roles: ['buyer'] },
    cart: [
      { sku: 'A-1001', title: 'Teapot, 1.2 l', quantity: 1, price: 24.9 },
      { sku: 'B-2042', title: 'Darjeeling first flush', quantity: 3, price: 11.45 },
    ],
    csrfSecret: `c2VjcmV0-${number}`,
    flash: {},
    returnTo: '/checkout?step=2',
    visits: number,
  };
}

/** Returns what a store returns for a session: its JSON, parsed. */
function asStored(session) {
  return JSON.parse(JSON.stringify(session));
}

/** Matches a date, in any form, that is this one, or later by as much as a save takes to reach Redis. */
function soonAfter(expires) {
  const late = (value) => new Date(value).getTime() - new Date(expires).getTime();
  return {
    asymmetricMatch: (value) => late(value) >= 0 && late(value) < 10_000,
    toAsymmetricMatcher: () => `${expires}, or soon after`,
  };
}

/**
 * Returns what `get` and `all` return for a saved session: its expiry is that of the key, which was set a moment later.
 */
function asRead(session) {
  const { cookie, ...content } = asStored(session);
  return { ...content, cookie: cookie?.expires ? { ...cookie, expires: soonAfter(cookie.expires) } : cookie };
}

module.exports = { HOUR, discardOf, liveSession, shopVisitor, asStored, asRead, soonAfter };
