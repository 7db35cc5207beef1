'use strict';

const { Operation } = require('../boundary/outbox.js');
const { Kind, Request } = require('../boundary/request.js');
const { withTimeout, isThenable, asError, usesAppFunctions } = require('../common/app-functions.js');
const { elapsed, nextTick } = require('../common/timers.js');
const { announceGone } = require('../observability/session-events.js');
const { corrupt } = require('./corrupt.js');
const { applyExpiry } = require('./expiry.js');
const { time } = require('./lifetime.js');

/** @import { Callback, Complete, SessionContext, SessionObject, SessionRegistry, Settings } from '../types.d.ts' */

/** Reads one session. */
class Get extends Request {
  /**
   * @param {Settings} store
   * @param {Callback} callback
   * @param {string} id
   * @param {SessionRegistry | undefined} registry records that the session was loaded
   * @param {boolean} keepsId the registry remembers the id as well
   * @param {boolean} isTimed the completion always has the expiry of the key, and this class decides which one is in
   *   force
   * @param {number} timeout of the operation, in ms
   */
  constructor(store, callback, id, registry, keepsId, isTimed, timeout) {
    super(store, callback, 'get');
    this.id = id;
    this.registry = registry;
    this.keepsId = keepsId;
    this.isTimed = isTimed;
    this.timeout = timeout;
    /** The time of the call, if a function of the app may read the session. */
    this.began = isTimed ? elapsed() : 0;
  }

  /** @type {Complete} */
  complete(kind, text, ends) {
    // As in connect-redis, an empty value is no session.
    if (kind !== Kind.SESSION || text === '') {
      if (kind !== Kind.FAILED) this.registry?.noteMissing(this.id);
      if (kind === Kind.MISSING) announceGone(this, 'get', this.id);
      super.complete(kind, text);
    } else if (this.isTimed && usesAppFunctions(this.store))
      this.runInAsyncScope(read, undefined, this, text, ends);
    else read(this, text, ends);
  }

  /** Its callback does not run within that of another read. */
  get isNested() {
    return false;
  }
}

/** A cache hit: its callback runs where `get` was called. */
class Hit {
  /**
   * @param {Settings} store
   * @param {Callback} callback
   * @param {string} id
   * @param {SessionRegistry} registry
   * @param {boolean} keepsId
   * @param {boolean} isTimed
   * @param {number} timeout
   * @param {number} shown the expiry for the cookie, 0 to keep the stored one; not used with `isTimed`
   */
  constructor(store, callback, id, registry, keepsId, isTimed, timeout, shown) {
    this.store = store;
    this.callback = callback;
    this.id = id;
    this.registry = registry;
    this.keepsId = keepsId;
    this.isTimed = isTimed;
    this.timeout = timeout;
    this.shown = shown;
  }

  /** @param {string} text @param {number} ends */
  complete(text, ends) {
    read(this, text, ends);
  }

  /** Its callback may run within that of another read. */
  get isNested() {
    return true;
  }

  /** @param {unknown} session */
  succeed(session) {
    const { callback } = this;
    callback(null, session);
  }

  /** @param {unknown} reason */
  fail(reason) {
    const { callback, store } = this;
    const error = asError(reason);
    store.stats.fail('get', error);
    callback(error, null);
  }
}

/** @typedef {(Get | Hit) & { began?: number, shown?: number }} Reader */

/** Parses the text of a session for a reader. @type {(reader: Reader, text: string, ends: number) => void} */
function read(reader, text, ends) {
  const { serializer, prefix } = reader.store;
  let session;
  let failure;
  try {
    session = serializer.parse(text);
  } catch (error) {
    failure = { error: serializer === JSON ? corrupt('get', prefix, text) : error };
  }
  if (failure) reader.fail(failure.error);
  else if (isThenable(session))
    withTimeout(session, timeLeft(reader), 'get').then(
      // Outside the promise chain, where an exception of the callback would become a rejection.
      (parsed) => nextTick(deliver, reader, parsed, text, ends),
      (error) => nextTick(() => reader.fail(error)),
    );
  else deliver(reader, session, text, ends);
}

/** Returns the remaining time of an operation, in ms. A hit has its full timeout. @param {Reader} reader */
function timeLeft({ began, timeout }) {
  return began ? began + timeout - elapsed() : timeout;
}

/**
 * Passes a parsed session to the callback of its reader.
 *
 * @type {(reader: Reader, session: any, text: string, ends: number) => void}
 */
function deliver(reader, session, text, ends) {
  const { store, id, registry, keepsId, isTimed, isNested } = reader;
  const expiry = isTimed ? ends : (reader.shown ?? ends);
  if (expiry > 0) applyExpiry(session, expiry, isTimed, store);
  if (store.lifetimes !== undefined) {
    let isAlive = false;
    try {
      isAlive = store.lifetimes.admit(
        store,
        id,
        session,
        text,
        ends,
        isNested ? undefined : /** @type {Get} */ (reader),
      );
    } catch (error) {
      reader.fail(error);
      return;
    }
    if (!isAlive) {
      registry?.noteMissing(id);
      reader.succeed(null);
      return;
    }
  }
  if (store.knownEnds.isActive) noteEnd(store, id, session, ends);
  if (registry === undefined) reader.succeed(session);
  else {
    const handover = registry.beginHandover(id, session, text, ends, keepsId, isNested);
    reader.succeed(session);
    registry.endHandover(handover);
  }
}

/**
 * Notes when a session ends: its expiry was reported, or is that of its cookie.
 *
 * @type {(store: Settings, id: string, session: SessionObject, ends: number) => void}
 */
function noteEnd(store, id, session, ends) {
  let end = ends;
  try {
    if (end === 0) end = time(/** @type {any} */ (session.cookie?.expires));
  } catch {
    // The session has no cookie with an expiry.
    return;
  }
  store.knownEnds.note(store, id, end);
}

/** Deletes a session that is over, whose key another process may have prolonged: a read does. @param {SessionContext} context @param {string} id */
function deleteEnded({ settings, outbox, timeout }, id) {
  const read = new Get(settings, () => {}, id, undefined, false, true, timeout);
  read.operation = undefined;
  // The addon counts it.
  settings.stats.unsent.get--;
  outbox.add(Operation.GET_TIMED, read, id);
}

module.exports = { Get, Hit, deleteEnded };
