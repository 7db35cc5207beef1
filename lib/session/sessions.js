'use strict';

const { Operation } = require('../boundary/outbox.js');
const { Request } = require('../boundary/request.js');
const { thrown } = require('../common/app-functions.js');
const { wrongType } = require('../common/errors.js');
const { elapsed, nextTick } = require('../common/timers.js');
const { carriesId, fastifySession, isExpressSession, openIdData } = require('./frameworks.js');
const { Get } = require('./get.js');
const { ConditionalSave } = require('./conditional-save.js');
const { lifetime, time } = require('./lifetime.js');
const { SessionRegistry, UNKNOWN } = require('./registry.js');
const { PerPrefix } = require('./per-prefix.js');
const { DISCARDED, Save, Touch, tellDiscarded } = require('./save.js');
const { stringify } = require('./stringify.js');
const { KeyedQueue } = require('./keyed-queue.js');

/** Between the times that Redis and this process tell, in ms. */
const CLOCK_TOLERANCE = 100;

/** Returns true for an object of the app's own, of whatever realm, and false for one that a framework has made. */
function isPlain(session) {
  const prototype = Object.getPrototypeOf(session);
  return prototype === null || Object.getPrototypeOf(prototype) === null || Array.isArray(session);
}

/** Returns true for a request of express-session's middleware, which gives each a session, that has none any more. */
function hasLostSession(request) {
  return request?.sessionStore !== undefined && request.headers !== undefined && !('session' in request);
}

/** connect-redis rounds lifetimes up to whole seconds, and cookies count in them, in ms. */
const ROUNDING = 1500;

/**
 * The expiry that was loaded, which @fastify/session keeps beside the one that it gives the session at that time. This
 * one is no earlier, unless an app has ended the session by it. In ms since 1970.
 */
function loadedExpiry({ cookie }) {
  const expires = cookie?.originalExpires;
  return expires instanceof Date ? expires.getTime() - ROUNDING : undefined;
}

/** What a store does with a single session: what is to be sent for it, and in which order. */
class Sessions {
  /** For the requests, the settings stand for the store. */
  #store;
  #settings;
  #gate;
  #outbox;
  /** Only if sessions are kept in this process. */
  #cacheReads;
  #timeout;
  #isGetOverridden;
  #registries;
  /** That of the prefix in force. */
  #registry;
  /** Only where conflicts are looked for. */
  #queue;

  constructor({ settings, gate, outbox, cacheReads, timeout, isGetOverridden, isQueueFull }) {
    this.#store = settings;
    this.#settings = settings;
    this.#gate = gate;
    this.#outbox = outbox;
    this.#cacheReads = cacheReads;
    this.#timeout = timeout;
    this.#isGetOverridden = isGetOverridden;
    this.#registries = new PerPrefix((prefix) => new SessionRegistry(settings.isConditional, prefix));
    this.#registry = this.#registries.get(settings.prefix);
    if (settings.isConditional) this.#queue = new KeyedQueue(timeout, isQueueFull);
  }

  /** Puts settings in force for the operations that follow. Under another prefix, the same ids mean other sessions. */
  use(settings) {
    const { prefix } = this.#settings;
    this.#store = settings;
    this.#settings = settings;
    if (settings.prefix === prefix) return;
    this.#outbox.setPrefix(settings.prefix);
    this.#registry = this.#registries.get(settings.prefix);
    this.#cacheReads?.use(settings.prefix);
  }

  /** Resolves when no save is under way and nothing waits; null if that is so. */
  whenIdle() {
    return this.#queue?.whenIdle() ?? null;
  }

  /**
   * Creates the live session of a request: a known one if `get` returned its data for this id, a new one otherwise.
   *
   * @param create makes it
   */
  begin(request, loaded, create) {
    this.#gate.open();
    const id = request.sessionID;
    const record = this.#registry.take(
      id,
      loaded,
      () => carriesId(request, id),
      (data) => this.#stringify(data),
    );
    const session = create();
    this.#registry.adopt(session, record);
    return session;
  }

  /**
   * The session of a request is about to be replaced, by one that may have the same id.
   *
   * @returns takes the error of the replacement, if there is one
   */
  replace(session) {
    const id = session?.id;
    // What hinders this hinders the destroy as well, which reports it.
    if (typeof id !== 'string' || this.#gate.hindrance('regenerate') !== undefined) return () => {};
    const registry = this.#registry;
    const record = registry.recall(session, id) ?? registry.keep(session, id, undefined, 0, undefined);
    // One that is stored is gone once Redis says so; until then, a save of it finds out by itself.
    record.isReplaced = record.since === undefined;
    return (error) => {
      record.isReplaced = !error;
    };
  }

  get(sid, callback) {
    if (this.#refuses('get', sid, callback)) return;
    if (this.#queue?.isTaken(this.#settings.prefix + sid)) this.#getLater(sid, callback);
    else this.#read(sid, callback);
  }

  /** Apart, so that no closure costs those that need not wait. */
  #getLater(sid, callback) {
    this.#wait(sid, 'get', callback, (settle) => this.#read(sid, settle));
  }

  /** Has an operation wait for its turn. It begins with the settings that it was issued with. */
  #wait(sid, name, callback, begin) {
    const issuedWith = this.#settings;
    this.#queue.wait(issuedWith.prefix + sid, name, callback, (settle) => {
      const present = this.#settings;
      this.use(issuedWith);
      begin(settle);
      this.use(present);
    });
  }

  #read(sid, callback) {
    // Somebody else than express-session's middleware may create a session of a copy of what is read.
    const keepsId = this.#store.generate === undefined || this.#isGetOverridden();
    const { decidesExpiry } = this.#settings;
    if (
      !this.#cacheReads?.get(
        this.#store,
        sid,
        callback,
        this.#registry,
        keepsId,
        decidesExpiry,
        this.#timeout,
      )
    )
      this.#ask(sid, callback, this.#registry, keepsId);
  }

  #ask(sid, callback, registry, keepsId) {
    const isTimed = this.#settings.isTimed;
    const request = new Get(this.#store, callback, sid, registry, keepsId, isTimed, this.#timeout);
    this.#outbox.add(isTimed ? Operation.GET_TIMED : Operation.GET, request, sid);
  }

  set(sid, session, callback, isPromised) {
    if (this.#refuses('set', sid, callback)) return;
    let record;
    let ttl;
    let text;
    let failure;
    try {
      ttl = this.#lifetime(session);
      record = this.#recall(sid, session);
      if (this.#isLeftOver(sid, session, record)) {
        nextTick(callback, null, DISCARDED);
        tellDiscarded(this.#store, sid);
        return;
      }
      if (ttl <= 0) ttl = this.#renewed(sid, session, ttl, record);
      if (ttl > 0) text = this.#stringify(session);
    } catch (error) {
      failure = { error };
    }
    if (failure) nextTick(callback, thrown(failure.error), null);
    else if (ttl <= 0) this.#expire(sid, record, callback, isPromised);
    else {
      const isTracked = this.#isTracked(sid, session, record);
      const save = this.#settings.isConditional ? this.#saveConditionally : this.#save;
      save.call(this, sid, session, callback, record, isTracked, text, ttl);
    }
  }

  /** @param isTracked the object is the session of this id, and what destroys that ends it */
  #save(sid, session, callback, record, isTracked, text, ttl) {
    const ends = this.#settings.touchAfter > 0 ? Date.now() + ttl : 0;
    const isFirst = record?.since === undefined;
    let kept = record;
    if (record !== undefined) {
      record.ends = ends;
      record.since ??= 0;
    } else if (isTracked) kept = this.#remember(session, sid, ends);
    const mayBeGone = isTracked && !isFirst && !this.#settings.saveDestroyed;
    const operation = mayBeGone ? Operation.SET_EXISTING : Operation.SET;
    const save = new Save(this.#store, callback, session, kept, this.#registry, isFirst);
    this.#outbox.add(operation, save, sid, text, this.#settings.disableTTL ? 0 : ttl);
  }

  #remember(session, sid, ends) {
    return this.#registry.keep(session, sid, undefined, ends, isExpressSession(session) ? 0 : Date.now());
  }

  #saveConditionally(sid, session, callback, record, isTracked, text, ttl) {
    const save = {
      outbox: this.#outbox,
      queue: this.#queue,
      prefix: this.#settings.prefix,
      session,
      record: record ?? this.#remember(session, sid, 0),
      text,
      ttl: this.#settings.disableTTL ? 0 : ttl,
      onConflict: this.#settings.onConflict,
      isRevived: this.#settings.saveDestroyed || !isTracked,
      since: elapsed(),
      timeout: this.#timeout,
    };
    const begin = (settle) => new ConditionalSave(this.#store, settle, save).begin();
    if (this.#queue.isTaken(this.#settings.prefix + sid)) this.#wait(sid, 'set', callback, begin);
    else begin(callback);
  }

  touch(sid, session, callback, isPromised) {
    if (this.#refuses('touch', sid, callback)) return;
    if (this.#settings.disableTouch || this.#settings.disableTTL) {
      callback(null, null);
      return;
    }
    let record;
    let ttl;
    let failure;
    try {
      ttl = this.#lifetime(session);
      if (ttl <= 0 || this.#settings.touchAfter > 0) record = this.#recall(sid, session);
      if (ttl <= 0) ttl = this.#renewed(sid, session, ttl, record);
    } catch (error) {
      failure = { error };
    }
    if (failure) nextTick(callback, thrown(failure.error), null);
    else if (ttl <= 0) this.#expire(sid, record, callback, isPromised);
    else if (this.#queue?.isTaken(this.#settings.prefix + sid))
      this.#prolongLater(sid, record, callback, ttl);
    else this.#prolong(sid, record, callback, ttl);
  }

  #prolongLater(sid, record, callback, ttl) {
    this.#wait(sid, 'touch', callback, (settle) => this.#prolong(sid, record, settle, ttl));
  }

  #prolong(sid, record, callback, ttl) {
    if (this.#settings.touchAfter === 0 || record === undefined)
      this.#outbox.add(Operation.TOUCH, new Request(this.#store, callback), sid, '', ttl);
    else if (this.#isFresh(record, ttl)) callback(null, null);
    else {
      const touch = new Touch(this.#store, callback, record, Date.now() + ttl);
      this.#outbox.add(Operation.TOUCH, touch, sid, '', ttl);
    }
  }

  /** Its last touch, or what did as well, is less than `touchAfter` ago. */
  #isFresh({ ends }, ttl) {
    const remaining = ends - Date.now();
    // Half of a lifetime at most, so that one that is short does not end between two touches.
    const touchAfter = Math.min(this.#settings.touchAfter * 1000, ttl / 2);
    return remaining >= ttl - touchAfter && remaining <= ttl + CLOCK_TOLERANCE;
  }

  /** A lifetime of 0 or less. Through the public method, since apps override it, some without a callback. */
  #expire(sid, record, callback, isPromised) {
    // Who has ended it may give it a lifetime after all: it is stored then.
    if (record !== undefined) record.since = undefined;
    if (isPromised)
      Promise.resolve(this.#store.destroy(sid)).then(
        (result) => callback(null, result),
        (error) => callback(thrown(error), null),
      );
    else this.#store.destroy(sid, callback);
  }

  destroy(sid, callback) {
    if (this.#refuses('destroy', sid, callback)) return;
    this.#registry.keepDestroyed(sid);
    if (this.#queue?.isTaken(this.#settings.prefix + sid)) this.#destroyLater(sid, callback);
    else this.#outbox.add(Operation.DESTROY, new Request(this.#store, callback), sid);
  }

  #destroyLater(sid, callback) {
    this.#wait(sid, 'destroy', callback, (settle) =>
      this.#outbox.add(Operation.DESTROY, new Request(this.#store, settle), sid),
    );
  }

  /** Answers what cannot be tried at all. */
  #refuses(name, sid, callback) {
    if (typeof sid === 'string' && this.#gate.isOpen) return false;
    let error = this.#gate.hindrance(name);
    if (typeof sid !== 'string') error ??= wrongType(`${name}: the session id`, 'a string or a number', sid);
    if (error === undefined) return false;
    nextTick(callback, error, null);
    return true;
  }

  /** Milliseconds. */
  #lifetime(session) {
    if (session === null || typeof session !== 'object') throw wrongType('The session', 'an object', session);
    return lifetime(session, this.#settings.ttl, this.#store);
  }

  /**
   * The lifetime of a session that has grown old since it was loaded, in a long request: its time begins
   * anew, as express-session has it at the end of the request. An app that ends a session by its cookie
   * leaves no `originalMaxAge` above 0 there; elsewhere, an expiry that was over when the session was alive.
   */
  #renewed(sid, session, ttl, record) {
    const { cookie } = session;
    const maxAge = cookie?.originalMaxAge;
    if (typeof maxAge !== 'number' || !(maxAge > 0) || !cookie.expires) return ttl;
    const since = this.#aliveSince(sid, session, record);
    const { expires } = cookie;
    const now = Date.now();
    if (!(time(expires) >= since && time(expires) <= now)) return ttl;
    cookie.expires = new Date(now + maxAge);
    cookie.originalMaxAge = maxAge;
    if (typeof this.#settings.ttl !== 'function') return Math.ceil(maxAge);
    const anew = this.#lifetime(session);
    if (anew > 0) return anew;
    // Not for the sake of its cookie.
    cookie.expires = expires;
    cookie.originalMaxAge = maxAge;
    return ttl;
  }

  /** When a session was alive that may have grown old since, in ms since 1970; NaN for what is stored as it is. */
  #aliveSince(sid, session, record) {
    if (this.#isTracked(sid, session, record)) {
      if (record !== undefined) return record.since ?? Number.NaN;
      // One that its request has created: only age makes the expiry of express-session's cookies pass by itself.
      if (session.req?.sessionStore !== undefined) return 0;
    }
    const load = isPlain(session) ? undefined : this.#registry.loadOf(sid);
    return load === undefined ? Number.NaN : (loadedExpiry(session) ?? load.at);
  }

  /** Returns true if the object is the session of this id, of a framework that makes one for each request. */
  #isTracked(sid, session, record) {
    if (isExpressSession(session)) return session.id === sid;
    const fastify = fastifySession(session);
    if (fastify !== undefined) return fastify.id === sid;
    return record !== undefined && openIdData(session) !== undefined;
  }

  /**
   * The record of a session object under an id. An object that is seen for the first time gets one if there is evidence
   * that it stems from what `get` returned for the id; see docs/sessions.md.
   */
  #recall(sid, session) {
    const record = this.#registry.recall(session, sid);
    if (record !== undefined || Object.getPrototypeOf(session) === null) return record;
    if (isExpressSession(session)) return session.id === sid ? this.#recallWrapped(sid, session) : undefined;
    const fastify = fastifySession(session);
    if (fastify !== undefined)
      return fastify.id === sid ? this.#recallFastify(sid, session, fastify) : undefined;
    const data = openIdData(session);
    return data === undefined ? undefined : this.#registry.recall(data, sid);
  }

  /** Of a live session that a wrapper of this store has created, without its `createSession`. */
  #recallWrapped(sid, session) {
    const record = this.#registry.recallByCookie(session.cookie, sid);
    if (record !== undefined) return this.#registry.adopt(session, { ...record, other: undefined });
    if (this.#store.generate !== undefined || !this.#isLoadedBy(session.req, sid)) return undefined;
    return this.#registry.keep(session, sid, UNKNOWN, 0, 0);
  }

  #recallFastify(sid, session, { request, hasLoadedData }) {
    const load = this.#registry.loadOf(sid);
    if (load === undefined || !(hasLoadedData || this.#isLoadedBy(request, sid))) return undefined;
    return this.#registry.keep(session, sid, UNKNOWN, 0, loadedExpiry(session) ?? load.at);
  }

  /** Returns true if a request presents an id, for which `get` last returned a session that is not destroyed here. */
  #isLoadedBy(request, sid) {
    const load = this.#registry.loadOf(sid);
    return load !== undefined && !load.isDestroyed && carriesId(request, sid);
  }

  /**
   * Returns true if a session was replaced, or if it was never saved and its request has destroyed it: `destroy` of
   * express-session removes it from the request.
   */
  #isLeftOver(sid, session, record) {
    if (this.#settings.saveDestroyed) return false;
    if (record?.isReplaced || record?.since !== undefined) return record.isReplaced;
    return (
      isExpressSession(session) &&
      session.id === sid &&
      hasLostSession(session.req) &&
      this.#registry.wasDestroyed(sid)
    );
  }

  #stringify(session) {
    return stringify(this.#settings.serializer, session);
  }
}

module.exports = { Sessions };
