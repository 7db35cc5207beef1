'use strict';

const { Operation } = require('../boundary/outbox.js');
const { asError } = require('../common/app-functions.js');
const { wrongType } = require('../common/errors.js');
const { nextTick } = require('../common/timers.js');
const { announce } = require('../observability/session-events.js');
const { Get, deleteEnded } = require('./get.js');
const { lifetime, renewedLifetime } = require('./lifetime.js');
const { DISCARDED, Destroy } = require('./write-requests.js');
const { Saves } = require('./saves.js');
const { SessionContext } = require('./session-context.js');
const { aliveSince, findRecord, isAbandoned, isTracked } = require('./session-identity.js');
const { stringify } = require('./stringify.js');
const { Touches } = require('./touches.js');
const { IndexedWrites } = require('../user-index/indexed-writes.js');

/** @import { HttpRequest, SessionObject, SessionRecord, Text } from '../types.d.ts' */
/** @import { Backend, CacheReads, Callback, Closable, Creation, SessionRegistry as Registry, Settings, StoreState } from '../types.d.ts' */
/** @import { User, UserIndex } from '../types.d.ts' */

/** The operations of a store on a single session: what each of them checks, then sends. */
class Sessions {
  #context;
  #state;
  /** Undefined without the option `cache`. */
  #cacheReads;
  #isGetOverridden;
  /** Undefined unless sessions are indexed. */
  #indexed;
  #saves;
  #touches;

  /**
   * @param {object} parts
   * @param {Settings} parts.settings
   * @param {StoreState} parts.state
   * @param {Backend} parts.outbox
   * @param {CacheReads | undefined} parts.cacheReads
   * @param {number} parts.timeout
   * @param {() => boolean} parts.isGetOverridden
   * @param {(count: number) => boolean} parts.isQueueFull
   * @param {UserIndex | undefined} parts.index
   */
  constructor({ settings, state, outbox, cacheReads, timeout, isGetOverridden, isQueueFull, index }) {
    const isIndexed = index !== undefined;
    const context = new SessionContext({ settings, outbox, cacheReads, timeout, isQueueFull, isIndexed });
    this.#context = context;
    this.#state = state;
    this.#cacheReads = cacheReads;
    this.#isGetOverridden = isGetOverridden;
    this.#indexed = index && new IndexedWrites(index, context);
    this.#saves = new Saves(context, this.#indexed);
    this.#touches = new Touches(context, this.#indexed);
  }

  /** Applies settings to the operations that follow. @param {Settings} settings */
  use(settings) {
    this.#context.use(settings);
  }

  /** Returns a promise that resolves when no save is pending and no operation waits; null if that is the case. */
  whenIdle() {
    return this.#context.whenIdle();
  }

  /** Notes that the session under an id was destroyed, on behalf of its user. @param {string} sid */
  noteDestroyed(sid) {
    this.#context.noteDestroyed(sid);
  }

  /**
   * Creates the live session of a request and attaches a record: of a loaded session if `get` returned its data for
   * this id, else of a new one.
   *
   * @template {SessionObject} Session
   * @param {HttpRequest} request
   * @param {SessionObject} loaded
   * @param {() => Session} create creates the session object
   */
  begin(request, loaded, create) {
    this.#state.open();
    const id = /** @type {string} */ (request.sessionID);
    const { settings, registry } = this.#context;
    const record = registry.claim(id, loaded, request, this.#stringify);
    const session = create();
    registry.attach(session, record);
    settings.lifetimes?.attach(settings, id, session);
    return session;
  }

  /** Begins the lifetime of a session that express-session has generated. @param {HttpRequest} request */
  started({ sessionID, session }) {
    this.#state.open();
    const { settings } = this.#context;
    if (sessionID !== undefined && session !== undefined)
      settings.lifetimes?.begin(settings, sessionID, session);
  }

  /**
   * Marks the session of a request as replaced by another one, which may have the same id.
   *
   * @param {SessionObject | undefined} session
   * @returns {(error: unknown) => void} a function to call afterwards, with the error of the replacement if it failed
   */
  replace(session) {
    // An error here is an error of the destroy as well, which reports it.
    if (typeof session?.id !== 'string' || this.#state.openFor('regenerate') !== undefined) return () => {};
    const { id } = session;
    const { registry } = this.#context;
    const record = registry.find(session, id) ?? registry.add(session, id, undefined, 0, undefined);
    // A stored session counts as replaced once Redis has destroyed it; until then, its saves are conditional.
    record.isReplaced = record.since === undefined;
    return (error) => {
      record.isReplaced = !error;
    };
  }

  /**
   * Returns the operation if it waits in the keyed queue.
   *
   * @param {string} sid
   * @param {Callback} callback
   * @returns {Closable | undefined}
   */
  get(sid, callback) {
    if (this.#rejects('get', sid, callback)) return undefined;
    if (this.#context.isLocked(sid)) return this.#enqueueGet(sid, callback);
    this.#read(sid, callback);
    return undefined;
  }

  /**
   * A method of its own, so that reads that do not wait create no closure.
   *
   * @param {string} sid
   * @param {Callback} callback
   */
  #enqueueGet(sid, callback) {
    return this.#context.enqueue(sid, 'get', callback, (done) => this.#read(sid, done));
  }

  /** @param {string} sid @param {Callback} callback */
  #read(sid, callback) {
    const { settings, registry, outbox, timeout } = this.#context;
    // A caller other than express-session's middleware may create a session from a copy of the data.
    const keepsId = settings.generate === undefined || this.#isGetOverridden();
    const { decidesExpiry, isTimed } = settings;
    if (this.#cacheReads?.get(settings, sid, callback, registry, keepsId, decidesExpiry, timeout)) return;
    const request = new Get(settings, callback, sid, registry, keepsId, isTimed, timeout);
    outbox.add(isTimed ? Operation.GET_TIMED : Operation.GET, request, sid);
  }

  /** @type {(sid: string, session: SessionObject, callback: Callback, isPromised: boolean) => void} */
  set(sid, session, callback, isPromised) {
    if (this.#rejects('set', sid, callback)) return;
    const context = this.#context;
    const { settings } = context;
    let record;
    let ttl = 0;
    /** @type {Text} */
    let text = '';
    /** @type {Creation | undefined} */
    let creation;
    /** @type {User[] | undefined} */
    let users;
    let failure;
    try {
      ttl = this.#lifetime(session);
      this.#resume(settings);
      record = findRecord(context, sid, session);
      if (isAbandoned(context, sid, session, record)) {
        this.#discard(sid, callback);
        return;
      }
      if (ttl <= 0) ttl = this.#renewedLifetime(sid, session, ttl, record);
      if (ttl > 0) {
        const { lifetimes, disableTTL } = settings;
        if (lifetimes === undefined) {
          text = this.#stringify(session);
          if (disableTTL) ttl = Number.POSITIVE_INFINITY;
        } else {
          const isKnown = record !== undefined || isTracked(sid, session, record);
          creation = lifetimes.save(settings, sid, session, ttl, isKnown);
          this.#resume(settings);
          if (creation.ttl < 1) {
            lifetimes.announceEnd(settings, sid, 'set');
            this.#discard(sid, callback);
            deleteEnded(context, sid);
            return;
          }
          ttl = creation.ttl;
          text = this.#stringify(session, creation.createdAt);
        }
        users = this.#indexed?.usersOf(session);
      }
    } catch (error) {
      failure = { error };
    }
    this.#resume(settings);
    if (failure) this.#reject('set', failure.error, callback);
    else if (ttl <= 0) this.#expire(sid, record, callback, isPromised);
    else {
      const tracked = isTracked(sid, session, record);
      if (
        users === undefined
          ? !settings.isConditional
          : this.#saves.isIndexed(sid, record, tracked, ttl, users)
      )
        this.#saves.send(sid, session, callback, record, tracked, text, ttl);
      else {
        const save = { sid, session, record, isTracked: tracked, text, ttl, creation, users: users ?? [] };
        if (users === undefined) this.#saves.sendConditionally(save, callback);
        else this.#saves.sendIndexed(save, callback);
      }
    }
  }

  /** Completes a save without storing anything. @param {string} sid @param {Callback} callback */
  #discard(sid, callback) {
    const { settings } = this.#context;
    nextTick(callback, null, DISCARDED);
    settings.stats.unsent.set++;
    announce(settings, 'discarded', 'set', sid);
  }

  /** @type {Sessions['set']} */
  touch(sid, session, callback, isPromised) {
    if (this.#rejects('touch', sid, callback)) return;
    const context = this.#context;
    const { settings } = context;
    const { lifetimes } = settings;
    if (this.#touches.isDisabled(sid)) {
      settings.stats.unsent.touch++;
      callback(null, null);
      return;
    }
    let record;
    let ttl = 0;
    /** @type {number | undefined} */
    let limited;
    /** @type {User[] | undefined} */
    let users;
    let failure;
    try {
      ttl = this.#lifetime(session);
      this.#resume(settings);
      if (ttl <= 0 || settings.touchAfter > 0) record = findRecord(context, sid, session);
      if (ttl <= 0) ttl = this.#renewedLifetime(sid, session, ttl, record);
      if (lifetimes !== undefined && ttl > 0) {
        ttl = lifetimes.idle(settings, session, ttl);
        limited = lifetimes.touch(settings, sid, session, ttl);
      }
      if (ttl > 0) users = this.#indexed?.usersOf(session);
    } catch (error) {
      failure = { error };
    }
    this.#resume(settings);
    if (failure) this.#reject('touch', failure.error, callback);
    else if (ttl <= 0) this.#expire(sid, record, callback, isPromised);
    else this.#touches.send(sid, record, callback, ttl, limited, users);
  }

  /**
   * Applies the settings of an operation again if a function of the app has called the store with other fields meanwhile,
   * such as another prefix.
   *
   * @param {Settings} settings
   */
  #resume(settings) {
    if (this.#context.settings === settings) return;
    this.#context.use(settings);
    // The next operation compares its fields with those of the last one.
    this.#state.reset();
  }

  /**
   * Destroys a session whose lifetime is 0 or less. Calls the public `destroy`, because apps override it, some without
   * a callback.
   *
   * @type {(sid: string, record: SessionRecord | undefined, callback: Callback, isPromised: boolean) => void}
   */
  #expire(sid, record, callback, isPromised) {
    // The app may set a lifetime above 0 later: the session is then stored again.
    if (record !== undefined) record.since = undefined;
    if (isPromised)
      Promise.resolve(this.#context.settings.destroy(sid)).then(
        (result) => callback(null, result),
        (error) => callback(asError(error), null),
      );
    else this.#context.settings.destroy(sid, callback);
  }

  /** @param {string} sid @param {Callback} callback */
  destroy(sid, callback) {
    if (this.#rejects('destroy', sid, callback)) return;
    const context = this.#context;
    context.noteDestroyed(sid);
    const done = this.#indexed?.afterDestroy(context.settings, sid, callback) ?? callback;
    if (context.isLocked(sid)) this.#enqueueDestroy(sid, done);
    else this.#sendDestroy(sid, done);
  }

  /** @param {string} sid @param {Callback} callback */
  #enqueueDestroy(sid, callback) {
    this.#context.enqueue(sid, 'destroy', callback, (done) => this.#sendDestroy(sid, done));
  }

  /** @param {string} sid @param {Callback} callback */
  #sendDestroy(sid, callback) {
    const { settings, outbox } = this.#context;
    outbox.add(Operation.DESTROY, new Destroy(settings, callback, sid), sid);
  }

  /**
   * Fails an operation that cannot begin: the id is neither a string nor a number, or the store is not open. Returns
   * true if it did.
   *
   * @param {string} name
   * @param {unknown} sid
   * @param {Callback} callback
   */
  #rejects(name, sid, callback) {
    if (typeof sid === 'string' && this.#state.isOpen) return false;
    let error = this.#state.openFor(name);
    if (typeof sid !== 'string') error ??= wrongType(`${name}: the session id`, 'a string or a number', sid);
    if (error === undefined) return false;
    this.#reject(name, error, callback);
    return true;
  }

  /** Fails an operation before anything is sent. @param {string} name @param {unknown} reason @param {Callback} callback */
  #reject(name, reason, callback) {
    const error = asError(reason);
    this.#context.settings.stats.reject(name, error);
    nextTick(callback, error, null);
  }

  /**
   * Returns the lifetime again of a session that expired during its request.
   *
   * @type {(sid: string, session: SessionObject, ttl: number, record: SessionRecord | undefined) => number}
   */
  #renewedLifetime(sid, session, ttl, record) {
    const context = this.#context;
    const { settings } = context;
    const renewed = renewedLifetime(session, ttl, settings, () => aliveSince(context, sid, session, record));
    this.#resume(settings);
    return renewed;
  }

  /** Returns the lifetime of a session in ms. @param {SessionObject} session */
  #lifetime(session) {
    if (session === null || typeof session !== 'object') throw wrongType('The session', 'an object', session);
    return lifetime(session, this.#context.settings.ttl, this.#context.settings);
  }

  /** @param {SessionObject} session @param {number} [createdAt] added to the text */
  #stringify = (session, createdAt) => {
    const { serializer, lifetimes } = this.#context.settings;
    return createdAt === undefined || lifetimes === undefined
      ? stringify(serializer, session)
      : lifetimes.stringify(serializer, session, createdAt);
  };
}

module.exports = { Sessions };
