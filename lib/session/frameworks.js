'use strict';

const { createHash } = require('node:crypto');
const { Session } = require('../common/express-session.js');

// Detects the session objects of frameworks. A save of such an object under its own id may be discarded.

/** @import { HttpRequest, SessionObject } from '../types.d.ts' */

/** @type {(value: unknown) => value is object} */
function isObject(value) {
  return value !== null && typeof value === 'object';
}

/**
 * Returns true for a session of express-session, from this or another copy of the package.
 *
 * @param {SessionObject} session
 */
function isExpressSession(session) {
  return (
    session instanceof Session || (isObject(session.req?.sessionStore) && typeof session.save === 'function')
  );
}

/**
 * The symbols of @fastify/session by the prototype of its sessions, null for other prototypes.
 *
 * @type {WeakMap<object, ReturnType<typeof traitsOf>>}
 */
const fastifyTraits = new WeakMap();

/**
 * Returns the hash that @fastify/session computes for a session without data.
 *
 * @param {SessionObject} prototype
 * @param {symbol} hash the name of the method that computes it
 */
function hashOfEmpty(prototype, hash) {
  try {
    return prototype[hash].call({ cookie: null });
  } catch {
    return createHash('sha256').update('{}').digest('hex');
  }
}

/** @param {SessionObject} session @param {SessionObject} prototype */
function traitsOf(session, prototype) {
  const named = (/** @type {object} */ object, /** @type {unknown[]} */ ...names) =>
    Object.getOwnPropertySymbols(object).find(({ description }) => names.includes(description));
  const id = named(session, 'sessionId');
  const request = named(session, 'request');
  const persisted = named(session, 'persistedHash', 'originalHash');
  const hash = named(prototype, 'hash');
  if (!id || !request || !persisted || !hash) return null;
  return { id, request, persisted, empty: hashOfEmpty(prototype, hash) };
}

/**
 * Returns the internal state of a session of @fastify/session; undefined for other objects. `hasLoadedData`: the
 * session was created from a stored one with data, according to its hash of that time.
 *
 * @param {SessionObject} session
 */
function fastifySession(session) {
  const prototype = Object.getPrototypeOf(session);
  if (prototype === null || prototype === Object.prototype) return undefined;
  let traits = fastifyTraits.get(prototype);
  if (traits === undefined) {
    traits = traitsOf(session, prototype);
    fastifyTraits.set(prototype, traits);
  }
  if (traits === null) return undefined;
  return {
    id: session[traits.id],
    request: session[traits.request]?.raw,
    hasLoadedData: session[traits.persisted] !== traits.empty,
  };
}

/**
 * Returns the data of a record of express-openid-connect, which a request keeps by reference; undefined for others.
 *
 * @param {SessionObject} record
 */
function openIdData(record) {
  const { header, data } = record;
  const isRecord =
    isObject(data) && isObject(header) && 'iat' in header && 'uat' in header && 'exp' in header;
  return isRecord ? data : undefined;
}

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/**
 * Returns true if a cookie contains the id, alone or signed, as in `s:<id>.<signature>` and `<id>.<signature>`.
 *
 * @param {string} value
 * @param {string} id
 */
function holds(value, id) {
  const at = value.indexOf(id);
  const end = at + id.length;
  return (at === 0 || value[at - 1] === ':') && (end === value.length || value[end] === '.');
}

/**
 * Returns true if a request presents a session's id in one of its cookies.
 *
 * @param {HttpRequest | undefined} request
 * @param {string} id
 */
function carriesId(request, id) {
  const header = request?.headers?.cookie;
  if (typeof header !== 'string' || id === '') return false;
  return header.split(';').some((cookie) => holds(decoded(cookie.slice(cookie.indexOf('=') + 1)).trim(), id));
}

module.exports = { carriesId, fastifySession, isExpressSession, openIdData };
