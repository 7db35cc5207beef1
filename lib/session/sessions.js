'use strict';

const { Session } = require('express-session');
const { Operation } = require('../boundary/outbox.js');
const { Request } = require('../boundary/request.js');
const { thrown } = require('../common/app-functions.js');
const { wrongType } = require('../common/errors.js');
const { elapsed, nextTick } = require('../common/timers.js');
const { TOLERANCE } = require('./expiry.js');
const { Get } = require('./get.js');
const { GuardedSave } = require('./guarded-save.js');
const { lifetime, time } = require('./lifetime.js');
const { Memory, UNKNOWN } = require('./memory.js');
const { PerPrefix } = require('./per-prefix.js');
const { Save, Touch, tellDiscarded } = require('./save.js');
const { stringify } = require('./stringify.js');
const { Turns } = require('./turns.js');

/** Between the times that Redis and this process tell, in ms. */
const CLOCK_TOLERANCE = 100;

/** What is no plain object, of whatever realm, is a framework's session, made for one request. */
function isLive(session) {
  const prototype = Object.getPrototypeOf(session);
  return prototype !== null && Object.getPrototypeOf(prototype) !== null && !Array.isArray(session);
}

/**
 * The expiry that was loaded, which @fastify/session keeps beside the one that it gives the session at that time. This
 * one is no earlier, unless an app has ended the session by it. In ms since 1970.
 */
function loadedExpiry({ cookie }) {
  const expires = cookie?.originalExpires;
  return expires instanceof Date ? expires.getTime() - TOLERANCE : undefined;
}

/** What a store does with a single session: what is to be sent for it, and in which order. */
class Sessions {
  /** For the requests, the settings stand for the store. */
  #store;
  #settings;
  #gate;
  #outbox;
  /** Only if sessions are kept in this process. */
  #near;
  #timeout;
  #memories;
  /** That of the prefix in force. */
  #memory;
  /** Only where conflicts are looked for. */
  #turns;

  constructor({ settings, gate, outbox, near, timeout }) {
    this.#store = settings;
    this.#settings = settings;
    this.#gate = gate;
    this.#outbox = outbox;
    this.#near = near;
    this.#timeout = timeout;
    const keeps = { bases: settings.isGuarded, ends: settings.touchAfter > 0 };
    this.#memories = new PerPrefix(() => new Memory(keeps));
    this.#memory = this.#memories.get(settings.prefix);
    if (settings.isGuarded) this.#turns = new Turns(timeout);
  }

  /** Puts settings in force for the operations that follow. Under another prefix, the same ids mean other sessions. */
  use(settings) {
    const { prefix } = this.#settings;
    this.#store = settings;
    this.#settings = settings;
    if (settings.prefix === prefix) return;
    this.#outbox.setPrefix(settings.prefix);
    this.#memory = this.#memories.get(settings.prefix);
    this.#near?.use(settings.prefix);
  }

  /** Resolves when no save is under way and nothing waits; null if that is so. */
  whenIdle() {
    return this.#turns?.whenIdle() ?? null;
  }

  /**
   * The live session of a request is made of what `get` gave.
   *
   * @param create makes it
   */
  begin(id, loaded, create) {
    this.#gate.open();
    // Something else than `get` gave, such as a subclass's own: that is what the request starts from.
    if (this.#settings.isGuarded && this.#memory.recall(loaded, id) === undefined)
      this.#memory.keep(loaded, id, this.#stringify(loaded), 0);
    const session = create();
    if (this.#memory.adopt(session, loaded, id) === undefined) this.#memory.keep(session, id, undefined, 0);
    return session;
  }

  /** The session of a request is about to be replaced, by one that may have the same id. */
  abandon(session) {
    if (session !== null && typeof session === 'object') this.#memory.keepAbandoned(session);
  }

  get(sid, callback) {
    if (this.#refuses('get', sid, callback)) return;
    if (this.#turns?.isTaken(this.#settings.prefix + sid)) this.#getLater(sid, callback);
    else this.#read(sid, callback);
  }

  /** Apart, so that no closure costs those that need not wait. */
  #getLater(sid, callback) {
    this.#wait(sid, 'get', callback, (settle) => this.#read(sid, settle));
  }

  /** Has an operation wait for its turn. It begins with the settings that it was issued with. */
  #wait(sid, name, callback, begin) {
    const issuedWith = this.#settings;
    this.#turns.wait(issuedWith.prefix + sid, name, callback, (settle) => {
      const present = this.#settings;
      this.use(issuedWith);
      begin(settle);
      this.use(present);
    });
  }

  #read(sid, callback) {
    // With express-session, `createSession` sees all that is loaded.
    const memory = this.#memory.keepsLoaded || this.#store.generate === undefined ? this.#memory : undefined;
    if (!this.#near?.get(this.#store, sid, callback, memory, this.#settings.decidesExpiry, this.#timeout))
      this.#ask(sid, callback, memory);
  }

  #ask(sid, callback, memory) {
    const isTimed = this.#settings.isTimed;
    const request = new Get(this.#store, callback, sid, memory, isTimed, this.#timeout);
    this.#outbox.add(isTimed ? Operation.GET_TIMED : Operation.GET, request, sid);
  }

  set(sid, session, callback, isPromised) {
    if (this.#refuses('set', sid, callback)) return;
    const record = this.#memory.recall(session, sid);
    if (record === undefined && this.#isLeftOver(sid, session)) {
      nextTick(callback, null, null);
      tellDiscarded(this.#store, sid);
      return;
    }
    let isKnown;
    let ttl;
    let text;
    let failure;
    try {
      ttl = this.#lifetime(session);
      const since = this.#aliveSince(sid, session, record);
      isKnown = since !== undefined;
      if (ttl <= 0 && isKnown) ttl = this.#renewed(session, ttl, since);
      if (ttl > 0) text = this.#stringify(session);
    } catch (error) {
      failure = { error };
    }
    if (failure) nextTick(callback, thrown(failure.error), null);
    else if (ttl <= 0) this.#expire(sid, record, callback, isPromised);
    else if (this.#settings.isGuarded) this.#saveGuarded(sid, session, callback, record, isKnown, text, ttl);
    else this.#save(sid, session, callback, record, isKnown, text, ttl);
  }

  #save(sid, session, callback, record, isKnown, text, ttl) {
    const isFirst = record?.since === undefined;
    const ends = this.#settings.touchAfter > 0 ? Date.now() + ttl : 0;
    let kept = record;
    if (record !== undefined) {
      record.ends = ends;
      record.since ??= 0;
    }
    // An object of the app's own may be any number of sessions in turn.
    else if (isLive(session)) kept = this.#remember(session, sid, ends);
    const operation = isKnown && !this.#settings.saveDestroyed ? Operation.SET_EXISTING : Operation.SET;
    const save = new Save(this.#store, callback, session, kept, this.#memory, isFirst);
    this.#outbox.add(operation, save, sid, text, this.#settings.disableTTL ? 0 : ttl);
  }

  #remember(session, sid, ends) {
    const record = this.#memory.keep(session, sid, undefined, ends);
    if (!(session instanceof Session)) record.since = Date.now();
    return record;
  }

  #saveGuarded(sid, session, callback, record, isKnown, text, ttl) {
    const kept = record ?? this.#remember(session, sid, 0);
    // Loaded, but not by `createSession`: nobody has told which text this object was made of.
    if (record === undefined && isKnown) kept.base = UNKNOWN;
    const save = {
      outbox: this.#outbox,
      turns: this.#turns,
      prefix: this.#settings.prefix,
      session,
      record: kept,
      text,
      ttl: this.#settings.disableTTL ? 0 : ttl,
      onConflict: this.#settings.onConflict,
      // An object of the app's own is stored as it is.
      isRevived: this.#settings.saveDestroyed || !isLive(session),
      since: elapsed(),
      timeout: this.#timeout,
    };
    const begin = (settle) => new GuardedSave(this.#store, settle, save).begin();
    if (this.#turns.isTaken(this.#settings.prefix + sid)) this.#wait(sid, 'set', callback, begin);
    else begin(callback);
  }

  touch(sid, session, callback, isPromised) {
    if (this.#refuses('touch', sid, callback)) return;
    if (this.#settings.disableTouch || this.#settings.disableTTL) {
      callback(null, null);
      return;
    }
    const record = this.#memory.recall(session, sid);
    let ttl;
    let failure;
    try {
      ttl = this.#lifetime(session);
      const since = ttl <= 0 ? this.#aliveSince(sid, session, record) : undefined;
      if (since !== undefined) ttl = this.#renewed(session, ttl, since);
    } catch (error) {
      failure = { error };
    }
    if (failure) nextTick(callback, thrown(failure.error), null);
    else if (ttl <= 0) this.#expire(sid, record, callback, isPromised);
    else if (this.#turns?.isTaken(this.#settings.prefix + sid))
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
    this.#memory.keepDestroyed(sid);
    if (this.#turns?.isTaken(this.#settings.prefix + sid)) this.#destroyLater(sid, callback);
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
    if (typeof sid !== 'string') error ??= wrongType(`${name}: the session id`, 'a string', sid);
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
  #renewed(session, ttl, since) {
    const { cookie } = session;
    const maxAge = cookie?.originalMaxAge;
    if (typeof maxAge !== 'number' || !(maxAge > 0) || !cookie.expires) return ttl;
    const { expires } = cookie;
    const now = Date.now();
    if (time(expires) < since || time(expires) > now) return ttl;
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

  /**
   * Whether the store has loaded or saved a session, and so does not bring it back: then when it was alive (0 where
   * that does not matter). Objects of the app's own are stored as they are, and so is what was ended by its own save.
   */
  #aliveSince(sid, session, record) {
    if (!isLive(session)) return undefined;
    if (record !== undefined) return record.since;
    if (this.#store.generate !== undefined) return undefined;
    // One that the app has made by hand, for no request, is new.
    if (session instanceof Session && session.req?.sessionStore === undefined) return undefined;
    // Of a framework or a wrapper of this store that makes sessions by itself: the id is all to know them by.
    const loadedAt = this.#memory.loadedAt(sid);
    if (loadedAt === undefined) return undefined;
    return session instanceof Session ? 0 : (loadedExpiry(session) ?? loadedAt);
  }

  /**
   * Whether a session that was never saved was replaced, or destroyed by this process: express-session then takes it
   * from its request. That of a request that has it is another one, which was given the same id.
   */
  #isLeftOver(sid, session) {
    const request = session?.req;
    if (request?.sessionStore === undefined || this.#settings.saveDestroyed) return false;
    if (this.#memory.wasAbandoned(session)) return true;
    return request.session !== session && this.#memory.wasDestroyed(sid);
  }

  #stringify(session) {
    return stringify(this.#settings.serializer, session);
  }
}

module.exports = { Sessions };
