'use strict';

const { carriesId, fastifySession, isExpressSession, openIdData } = require('./frameworks.js');
const { UNKNOWN_BASE } = require('./session-registry.js');

/** @import { HttpRequest, SessionContext as Context, SessionObject, SessionRecord } from '../types.d.ts' */

/** @typedef {NonNullable<ReturnType<typeof fastifySession>>} FastifySession */
/** @typedef {(context: Context, sid: string, session: SessionObject, record: SessionRecord | undefined) => boolean} Predicate */

/**
 * Returns true for a plain object or array of the app, of any realm; false for an object of a framework's class.
 *
 * @param {SessionObject} session
 */
function isPlain(session) {
  const prototype = Object.getPrototypeOf(session);
  return prototype === null || Object.getPrototypeOf(prototype) === null || Array.isArray(session);
}

/**
 * Returns true for a request from which express-session's middleware has removed the session.
 *
 * @param {HttpRequest | undefined} request
 */
function hasLostSession(request) {
  return request?.sessionStore !== undefined && request.headers !== undefined && !('session' in request);
}

/** The tolerance in ms for lifetimes that connect-redis rounds up to whole seconds, as cookies do. */
const ROUNDING = 1500;

/**
 * Returns the expiry that was loaded, in ms since 1970. @fastify/session keeps it in addition to the one that it sets
 * when it loads the session, which is not earlier unless an app has ended the session by it.
 *
 * @param {SessionObject} session
 */
function loadedExpiry({ cookie }) {
  const expires = cookie?.originalExpires;
  return expires instanceof Date ? expires.getTime() - ROUNDING : undefined;
}

/**
 * Returns when a session was alive that may have expired since, in ms since 1970; NaN if its expiry is the app's.
 *
 * @type {(context: Context, sid: string, session: SessionObject, record: SessionRecord | undefined) => number}
 */
function aliveSince(context, sid, session, record) {
  if (isTracked(sid, session, record)) {
    if (record !== undefined) return record.since ?? Number.NaN;
    // Created by its request: the expiry of an express-session cookie passes only with time.
    if (session.req?.sessionStore !== undefined) return 0;
  }
  const load = isPlain(session) ? undefined : context.registry.loadOf(sid);
  return load === undefined ? Number.NaN : (loadedExpiry(session) ?? load.at);
}

/**
 * Returns true if the object is the session of this id, of a framework that creates one per request.
 *
 * @type {(sid: string, session: SessionObject, record: SessionRecord | undefined) => boolean}
 */
function isTracked(sid, session, record) {
  if (isExpressSession(session)) return session.id === sid;
  const fastify = fastifySession(session);
  if (fastify !== undefined) return fastify.id === sid;
  return record !== undefined && openIdData(session) !== undefined;
}

/**
 * Returns the record of a session object under an id. Adds one for a new object if there is evidence that it stems
 * from the result of `get` for the id; see docs/sessions.md.
 *
 * @type {(context: Context, sid: string, session: SessionObject) => SessionRecord | undefined}
 */
function findRecord(context, sid, session) {
  const record = context.registry.find(session, sid);
  if (record !== undefined || Object.getPrototypeOf(session) === null) return record;
  if (isExpressSession(session)) return session.id === sid ? findWrapped(context, sid, session) : undefined;
  const fastify = fastifySession(session);
  if (fastify !== undefined)
    return fastify.id === sid ? findFastify(context, sid, session, fastify) : undefined;
  const data = openIdData(session);
  return data === undefined ? undefined : context.registry.find(data, sid);
}

/**
 * Returns the record of a live session that a wrapper of this store has created, without its `createSession`.
 *
 * @type {(context: Context, sid: string, session: SessionObject) => SessionRecord | undefined}
 */
function findWrapped(context, sid, session) {
  const record = context.registry.findByCookie(session.cookie, sid);
  if (record !== undefined) return context.registry.attach(session, { ...record, other: undefined });
  if (context.settings.generate !== undefined || !isLoadedBy(context, session.req, sid)) return undefined;
  return context.registry.add(session, sid, UNKNOWN_BASE, 0, 0);
}

/** @type {(context: Context, sid: string, session: SessionObject, state: FastifySession) => SessionRecord | undefined} */
function findFastify(context, sid, session, { request, hasLoadedData }) {
  const load = context.registry.loadOf(sid);
  if (load === undefined || !(hasLoadedData || isLoadedBy(context, request, sid))) return undefined;
  return context.registry.add(session, sid, UNKNOWN_BASE, 0, loadedExpiry(session) ?? load.at);
}

/**
 * Returns true if a request presents an id for which `get` returned a session that was not destroyed here since.
 *
 * @type {(context: Context, request: HttpRequest | undefined, sid: string) => boolean}
 */
function isLoadedBy(context, request, sid) {
  const load = context.registry.loadOf(sid);
  return load !== undefined && !load.isDestroyed && carriesId(request, sid);
}

/**
 * Returns true if a session was replaced, or if it was never saved and its request has destroyed it.
 * (express-session's `destroy` removes it from the request.)
 *
 * @type {Predicate}
 */
function isAbandoned(context, sid, session, record) {
  if (context.settings.saveDestroyed) return false;
  if (record?.isReplaced || record?.since !== undefined) return record.isReplaced;
  return (
    isExpressSession(session) &&
    session.id === sid &&
    hasLostSession(session.req) &&
    context.registry.wasDestroyed(sid)
  );
}

/**
 * Returns true if a session whose first save this is was created by its request, for the event `created`. Its record,
 * if it has one, is not that of a loaded session.
 *
 * @type {Predicate}
 */
function isNew(context, sid, session, record) {
  if (isExpressSession(session)) {
    // Without a record, it was created by express-session, or loaded by a wrapper.
    const isKnown = record === undefined && context.settings.generate !== undefined;
    return session.id === sid && (isKnown || !carriesId(session.req, sid));
  }
  const fastify = fastifySession(session);
  if (fastify !== undefined) return fastify.id === sid && !fastify.hasLoadedData;
  return record !== undefined || openIdData(session) !== undefined;
}

module.exports = { aliveSince, findRecord, isAbandoned, isNew, isTracked };
