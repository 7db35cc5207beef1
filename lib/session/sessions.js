'use strict';

const { Operation } = require('../boundary/outbox.js');
const { Request } = require('../boundary/request.js');
const { asError } = require('../common/app-functions.js');
const { wrongType } = require('../common/errors.js');
const { elapsed, nextTick } = require('../common/timers.js');
const { announce, announceOf, isObserved } = require('../observability/session-events.js');
const { carriesId, fastifySession, isExpressSession, openIdData } = require('./frameworks.js');
const { Get } = require('./get.js');
const { ConditionalSave } = require('./conditional-save.js');
const { CreationFix } = require('./creation-fix.js');
const { lifetime, time } = require('./lifetime.js');
const { SessionRegistry, UNKNOWN_BASE } = require('./session-registry.js');
const { PerPrefix } = require('./per-prefix.js');
const { DISCARDED, Destroy, ObservedSave, Save, Touch } = require('./save.js');
const { stringify } = require('./stringify.js');
const { KeyedQueue } = require('./keyed-queue.js');
const { IndexedWrites } = require('../user-index/indexed-writes.js');
const { spanOf } = require('../user-index/known-entries.js');

/** @import { HttpRequest, KeyedQueue as Queue, SessionObject, SessionRecord, Text } from '../types.d.ts' */
/** @import { Lifetimes } from './lifetimes.js' */
/** @import { Backend, CacheReads, Callback, Closable, SessionRegistry as Registry, Settings, StoreState } from '../types.d.ts' */
/** @import { IndexedWrites as Indexed, User, UserIndex } from '../types.d.ts' */

/**
 * The second half of `set`. `isTracked`: the object is the session of this id, so that its save is discarded once that
 * is destroyed.
 *
 * @typedef {(sid: string, session: SessionObject, callback: Callback, record: SessionRecord | undefined,
 *   isTracked: boolean, text: Text, ttl: number, creation?: Creation) => void} SaveMethod
 */
/** @typedef {(sid: string, session: SessionObject, record: SessionRecord | undefined) => boolean} Predicate */
/** @typedef {ReturnType<InstanceType<typeof Lifetimes>['save']>} Creation */
/** @typedef {ReturnType<Indexed['touch']>} IndexedWrite */
/** @typedef {NonNullable<ReturnType<typeof fastifySession>>} FastifySession */

/** The tolerated difference between the clocks of Redis and this process, in ms. */
const CLOCK_TOLERANCE = 100;

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

/** Returns the lifetime of a key in ms: 0 for an endless one. @param {number} ttl */
function lifeOf(ttl) {
  return ttl === Number.POSITIVE_INFINITY ? 0 : ttl;
}

/** The operations of a store on a single session: their requests, and the order of these. */
class Sessions {
  /** @type {Settings} */
  #settings;
  #state;
  #outbox;
  /** Undefined without the option `cache`. */
  #cacheReads;
  #timeout;
  #isGetOverridden;
  #registries;
  /** The registry of the current prefix. */
  #registry;
  /** Undefined unless saves detect conflicts, or sessions are indexed. */
  #queue;
  /** Undefined unless sessions are indexed. */
  #indexed;

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
    this.#settings = settings;
    this.#state = state;
    this.#outbox = outbox;
    this.#cacheReads = cacheReads;
    this.#timeout = timeout;
    this.#isGetOverridden = isGetOverridden;
    this.#registries = new PerPrefix((prefix) => new SessionRegistry(settings.isConditional, prefix));
    this.#registry = this.#registries.get(settings.prefix);
    if (settings.isConditional || index !== undefined)
      this.#queue = new KeyedQueue(timeout, isQueueFull, settings.stats);
    if (index !== undefined)
      this.#indexed = new IndexedWrites(index, /** @type {Queue} */ (this.#queue), timeout);
  }

  /**
   * Applies settings to the operations that follow. Under another prefix, the same ids identify other sessions.
   *
   * @param {Settings} settings
   */
  use(settings) {
    const { prefix } = this.#settings;
    this.#settings = settings;
    if (settings.prefix === prefix) return;
    this.#outbox.setPrefix(settings.prefix);
    this.#registry = this.#registries.get(settings.prefix);
    this.#cacheReads?.use(settings.prefix);
  }

  /** Returns a promise that resolves when no save is pending and no operation waits; null if that is the case. */
  whenIdle() {
    return this.#queue?.whenIdle() ?? null;
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
    const record = this.#registry.claim(id, loaded, request, this.#stringify);
    const session = create();
    this.#registry.attach(session, record);
    this.#settings.lifetimes?.attach(this.#settings, id, session);
    return session;
  }

  /** Begins the lifetime of a session that express-session has generated. @param {HttpRequest} request */
  started({ sessionID, session }) {
    this.#state.open();
    if (sessionID !== undefined && session !== undefined)
      this.#settings.lifetimes?.begin(this.#settings, sessionID, session);
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
    const registry = this.#registry;
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
    if (this.#queue?.isLocked(this.#settings.prefix + sid)) return this.#enqueueGet(sid, callback);
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
    return this.#enqueue(sid, 'get', callback, (done) => this.#read(sid, done));
  }

  /**
   * Queues an operation on a locked session. It begins later, with the settings that it was issued with.
   *
   * @type {(sid: string, name: string, callback: Callback, begin: (done: Callback) => void) => Closable | undefined}
   */
  #enqueue(sid, name, callback, begin) {
    const issuedWith = this.#settings;
    return this.#queue?.wait(issuedWith.prefix + sid, name, callback, (done) =>
      this.#with(issuedWith, () => begin(done)),
    );
  }

  /** Calls `run`, whose operations use these settings. @type {(settings: Settings, run: () => void) => void} */
  #with(settings, run) {
    const current = this.#settings;
    this.use(settings);
    run();
    this.use(current);
  }

  /** @param {string} sid @param {Callback} callback */
  #read(sid, callback) {
    // A caller other than express-session's middleware may create a session from a copy of the data.
    const keepsId = this.#settings.generate === undefined || this.#isGetOverridden();
    const { decidesExpiry } = this.#settings;
    if (
      !this.#cacheReads?.get(
        this.#settings,
        sid,
        callback,
        this.#registry,
        keepsId,
        decidesExpiry,
        this.#timeout,
      )
    )
      this.#readFromRedis(sid, callback, this.#registry, keepsId);
  }

  /** @type {(sid: string, callback: Callback, registry: Registry, keepsId: boolean) => void} */
  #readFromRedis(sid, callback, registry, keepsId) {
    const isTimed = this.#settings.isTimed;
    const request = new Get(this.#settings, callback, sid, registry, keepsId, isTimed, this.#timeout);
    this.#outbox.add(isTimed ? Operation.GET_TIMED : Operation.GET, request, sid);
  }

  /** @type {(sid: string, session: SessionObject, callback: Callback, isPromised: boolean) => void} */
  set(sid, session, callback, isPromised) {
    if (this.#rejects('set', sid, callback)) return;
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
      record = this.#findRecord(sid, session);
      if (this.#isAbandoned(sid, session, record)) {
        nextTick(callback, null, DISCARDED);
        this.#settings.stats.unsent.set++;
        announce(this.#settings, 'discarded', 'set', sid);
        return;
      }
      if (ttl <= 0) ttl = this.#renewedLifetime(sid, session, ttl, record);
      if (ttl > 0) {
        const { lifetimes, disableTTL } = this.#settings;
        if (lifetimes === undefined) {
          text = this.#stringify(session);
          if (disableTTL) ttl = Number.POSITIVE_INFINITY;
        } else {
          const isKnown = record !== undefined || this.#isTracked(sid, session, record);
          creation = lifetimes.save(this.#settings, sid, session, ttl, isKnown);
          if (creation.ttl < 1) {
            this.#discardEnded(sid, callback);
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
    if (failure) this.#reject('set', failure.error, callback);
    else if (ttl <= 0) this.#expire(sid, record, callback, isPromised);
    else {
      const isTracked = this.#isTracked(sid, session, record);
      const save =
        users !== undefined
          ? this.#saveIndexed
          : this.#settings.isConditional
            ? this.#saveConditionally
            : this.#save;
      save.call(this, sid, session, callback, record, isTracked, text, ttl, creation, users);
    }
  }

  /** Completes a save, without storing anything, of a session that is over. @param {string} sid @param {Callback} callback */
  #discardEnded(sid, callback) {
    const { lifetimes, stats } = this.#settings;
    nextTick(callback, null, DISCARDED);
    stats.unsent.set++;
    lifetimes?.announceEnd(this.#settings, sid, 'set');
    announce(this.#settings, 'discarded', 'set', sid);
    this.#deleteEnded(sid);
  }

  /** Deletes a session that is over, whose key another process may have prolonged: a read does. @param {string} sid */
  #deleteEnded(sid) {
    const read = new Get(this.#settings, () => {}, sid, undefined, false, true, this.#timeout);
    read.operation = undefined;
    // The addon counts it.
    this.#settings.stats.unsent.get--;
    this.#outbox.add(Operation.GET_TIMED, read, sid);
  }

  /**
   * Saves a session once it is in the indexes of its users.
   *
   * @type {(...save: [...Parameters<SaveMethod>, users?: User[]]) => void}
   */
  #saveIndexed(sid, session, callback, record, isTracked, text, ttl, creation, users = []) {
    const settings = this.#settings;
    const indexed = /** @type {Indexed} */ (this.#indexed);
    const life = lifeOf(ttl);
    // Such a save stores nothing once the session, and with it perhaps the entry, is gone.
    const needsSession = isTracked && record?.since !== undefined && !settings.saveDestroyed;
    const isCovered = users.length === 0 || (needsSession && indexed.covers(settings, sid, users, life));
    const isLocked = this.#queue?.isLocked(settings.prefix + sid);
    if (isCovered && !isLocked && !settings.isConditional) {
      this.#save(sid, session, callback, record, isTracked, text, ttl, creation);
      return;
    }
    const save = settings.isConditional
      ? this.#conditionalSave(sid, session, record, isTracked, text, ttl, creation)
      : (/** @type {Callback} */ done) =>
          this.#save(sid, session, done, record, isTracked, text, ttl, creation);
    if (!isCovered) {
      const span = spanOf(life, settings.lifetimes?.leftOf(settings, sid));
      this.#begin(indexed.save(settings, sid, session, users, span, needsSession), sid, callback, save);
    } else if (isLocked) this.#enqueue(sid, 'set', callback, save);
    else save(callback);
  }

  /**
   * Begins a write that asserts index entries first.
   *
   * @type {(write: IndexedWrite, sid: string, callback: Callback, run: (done: Callback) => void) => void}
   */
  #begin(write, sid, callback, run) {
    const settings = this.#settings;
    const evict = (/** @type {Callback} */ done) => this.#with(settings, () => this.#evict(sid, done));
    write.run = (done) => this.#with(settings, () => run(done));
    write.evict = evict;
    if (this.#queue?.isLocked(settings.prefix + sid))
      this.#enqueue(sid, write.name, callback, (done) => write.begin(done));
    else write.start(callback);
  }

  /** Destroys a session that exceeds the limit of its user. @param {string} sid @param {Callback} callback */
  #evict(sid, callback) {
    const settings = this.#settings;
    this.noteDestroyed(sid);
    /** @type {Callback} */
    const done = (error) => {
      if (!error) announceOf(request, 'discarded', 'set', sid);
      callback(error, error ? null : DISCARDED);
    };
    done.trace = callback.trace;
    const request = new Destroy(settings, done, sid);
    this.#outbox.add(Operation.DESTROY, request, sid);
  }

  /** Notes that the session under an id was destroyed, on behalf of its user. @param {string} sid */
  noteDestroyed(sid) {
    this.#registry.markDestroyed(sid);
    this.#settings.lifetimes?.forget(this.#settings, sid);
  }

  /** @type {SaveMethod} */
  #save(sid, session, callback, record, isTracked, text, ttl) {
    const { touchAfter, knownEnds } = this.#settings;
    const ends = touchAfter > 0 || knownEnds.isActive ? Date.now() + ttl : 0;
    const isFirst = record?.since === undefined;
    const isCreation = isFirst && isObserved(this.#settings, 'created') && this.#isNew(sid, session, record);
    let kept = record;
    if (record !== undefined) {
      record.ends = ends;
      record.since ??= 0;
    } else if (isTracked) kept = this.#remember(session, sid, ends);
    const mayBeGone = isTracked && !isFirst && !this.#settings.saveDestroyed;
    const operation = mayBeGone ? Operation.SET_EXISTING : Operation.SET;
    const isSeen = isCreation || knownEnds.isActive;
    const save = new (isSeen ? ObservedSave : Save)(
      this.#settings,
      callback,
      session,
      kept,
      this.#registry,
      isFirst,
    );
    if (isSeen) Object.assign(save, { id: sid, isCreation, ends });
    this.#outbox.add(operation, save, sid, text, ttl === Number.POSITIVE_INFINITY ? 0 : ttl);
  }

  /** @type {(session: SessionObject, sid: string, ends: number) => SessionRecord} */
  #remember(session, sid, ends) {
    return this.#registry.add(session, sid, undefined, ends, isExpressSession(session) ? 0 : Date.now());
  }

  /** @type {SaveMethod} */
  #saveConditionally(sid, session, callback, record, isTracked, text, ttl, creation) {
    const save = this.#conditionalSave(sid, session, record, isTracked, text, ttl, creation);
    if (this.#queue?.isLocked(this.#settings.prefix + sid)) this.#enqueue(sid, 'set', callback, save);
    else save(callback);
  }

  /**
   * Returns a function that begins a conditional save, whether or not the session is locked.
   *
   * @type {(sid: string, session: SessionObject, record: SessionRecord | undefined, isTracked: boolean, text: Text,
   *   ttl: number, creation: Creation | undefined) => (done: Callback) => void}
   */
  #conditionalSave(sid, session, record, isTracked, text, ttl, creation) {
    const save = {
      outbox: this.#outbox,
      queue: /** @type {Queue} */ (this.#queue),
      prefix: this.#settings.prefix,
      session,
      record: record ?? this.#remember(session, sid, 0),
      text,
      ttl: ttl === Number.POSITIVE_INFINITY ? 0 : ttl,
      endsBy: creation?.endsBy ?? Number.POSITIVE_INFINITY,
      createdAt: creation?.createdAt,
      onConflict: this.#settings.onConflict,
      isTracked,
      restoresDestroyed: this.#settings.saveDestroyed || !isTracked,
      since: elapsed(),
      timeout: this.#timeout,
    };
    return (done) => new ConditionalSave(this.#settings, done, save).begin();
  }

  /** @type {Sessions['set']} */
  touch(sid, session, callback, isPromised) {
    if (this.#rejects('touch', sid, callback)) return;
    const { lifetimes } = this.#settings;
    if (this.#isTouchDisabled(sid)) {
      this.#settings.stats.unsent.touch++;
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
      if (ttl <= 0 || this.#settings.touchAfter > 0) record = this.#findRecord(sid, session);
      if (ttl <= 0) ttl = this.#renewedLifetime(sid, session, ttl, record);
      if (lifetimes !== undefined && ttl > 0) {
        ttl = lifetimes.idle(this.#settings, session, ttl);
        limited = lifetimes.touch(this.#settings, sid, session, ttl);
      }
      if (ttl > 0) users = this.#indexed?.usersOf(session);
    } catch (error) {
      failure = { error };
    }
    if (failure) this.#reject('touch', failure.error, callback);
    else if (ttl <= 0) this.#expire(sid, record, callback, isPromised);
    else if (users !== undefined && this.#needsEntries(sid, users, limited ?? ttl))
      this.#touchIndexed(sid, record, callback, ttl, limited, users);
    else if (lifetimes !== undefined) this.#touchLimited(lifetimes, sid, record, callback, ttl, limited);
    else if (this.#queue?.isLocked(this.#settings.prefix + sid))
      this.#enqueueTouch(sid, record, callback, ttl);
    else this.#touch(sid, record, callback, ttl);
  }

  /** Returns true if a touch sends nothing. @param {string} sid */
  #isTouchDisabled(sid) {
    const { lifetimes, disableTouch, disableTTL } = this.#settings;
    if (lifetimes === undefined) return disableTouch || disableTTL;
    return disableTouch && lifetimes.isStored(this.#settings, sid);
  }

  /**
   * Touches a session whose lifetime is limited: to `limited` if its creation time is stored, less than 1 if it is over.
   *
   * @type {(lifetimes: InstanceType<typeof Lifetimes>, sid: string, record: SessionRecord | undefined,
   *   callback: Callback, ttl: number, limited: number | undefined) => void}
   */
  #touchLimited(lifetimes, sid, record, callback, ttl, limited) {
    const isLocked = this.#queue?.isLocked(this.#settings.prefix + sid);
    if (limited === undefined) {
      const begin = (/** @type {Callback} */ done) => {
        const touch = { lifetimes, outbox: this.#outbox, id: sid, ttl, timeout: this.#timeout };
        new CreationFix(this.#settings, done, touch).begin();
      };
      if (isLocked) this.#enqueue(sid, 'touch', callback, begin);
      else begin(callback);
    } else if (limited >= 1 && limited !== Number.POSITIVE_INFINITY) {
      if (isLocked) this.#enqueueTouch(sid, record, callback, limited);
      else this.#touch(sid, record, callback, limited);
    } else {
      this.#settings.stats.unsent.touch++;
      nextTick(callback, null, null);
      if (limited >= 1) return;
      lifetimes.announceEnd(this.#settings, sid, 'touch');
      this.#deleteEnded(sid);
    }
  }

  /** @type {(sid: string, record: SessionRecord | undefined, callback: Callback, ttl: number) => void} */
  #enqueueTouch(sid, record, callback, ttl) {
    const since = elapsed();
    this.#enqueue(sid, 'touch', callback, (done) => {
      // The deadline of a session does not wait.
      const left = this.#settings.lifetimes === undefined ? ttl : Math.ceil(ttl - (elapsed() - since));
      this.#touch(sid, record, done, Math.max(1, left));
    });
  }

  /** Returns true if a touch has to assert index entries first. @type {(sid: string, users: User[], ttl: number) => boolean} */
  #needsEntries(sid, users, ttl) {
    return ttl >= 1 && this.#indexed?.covers(this.#settings, sid, users, lifeOf(ttl)) === false;
  }

  /**
   * @type {(sid: string, record: SessionRecord | undefined, callback: Callback, ttl: number, limited: number | undefined,
   *   users: User[]) => void}
   */
  #touchIndexed(sid, record, callback, ttl, limited, users) {
    const { lifetimes } = this.#settings;
    const span = spanOf(lifeOf(limited ?? ttl), lifetimes?.leftOf(this.#settings, sid));
    const touch = /** @type {Indexed} */ (this.#indexed).touch(this.#settings, sid, users, span);
    this.#begin(touch, sid, callback, (done) => {
      if (lifetimes === undefined) this.#touch(sid, record, done, ttl);
      else this.#touchLimited(lifetimes, sid, record, done, ttl, limited);
    });
  }

  /** @type {(sid: string, record: SessionRecord | undefined, callback: Callback, ttl: number) => void} */
  #touch(sid, record, callback, ttl) {
    const { touchAfter, knownEnds, stats } = this.#settings;
    const isLimited = touchAfter > 0 && record !== undefined;
    if (isLimited && this.#isFresh(record, ttl)) {
      stats.unsent.touch++;
      callback(null, null);
      return;
    }
    const touch =
      isLimited || knownEnds.isActive
        ? new Touch(this.#settings, callback, sid, record, Date.now() + ttl)
        : new Request(this.#settings, callback, 'touch');
    this.#outbox.add(Operation.TOUCH, touch, sid, '', ttl);
  }

  /**
   * Returns true if the last touch, or save, was less than `touchAfter` ago.
   *
   * @type {(record: SessionRecord, ttl: number) => boolean}
   */
  #isFresh({ ends }, ttl) {
    const remaining = ends - Date.now();
    // At most half of the lifetime, so that a short one does not end between two touches.
    const touchAfter = Math.min(this.#settings.touchAfter * 1000, ttl / 2);
    return remaining >= ttl - touchAfter && remaining <= ttl + CLOCK_TOLERANCE;
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
      Promise.resolve(this.#settings.destroy(sid)).then(
        (result) => callback(null, result),
        (error) => callback(asError(error), null),
      );
    else this.#settings.destroy(sid, callback);
  }

  /** @param {string} sid @param {Callback} callback */
  destroy(sid, callback) {
    if (this.#rejects('destroy', sid, callback)) return;
    this.#registry.markDestroyed(sid);
    this.#settings.lifetimes?.forget(this.#settings, sid);
    const done = this.#indexed?.afterDestroy(this.#settings, sid, callback) ?? callback;
    if (this.#queue?.isLocked(this.#settings.prefix + sid)) this.#enqueueDestroy(sid, done);
    else this.#outbox.add(Operation.DESTROY, new Destroy(this.#settings, done, sid), sid);
  }

  /** @param {string} sid @param {Callback} callback */
  #enqueueDestroy(sid, callback) {
    this.#enqueue(sid, 'destroy', callback, (done) =>
      this.#outbox.add(Operation.DESTROY, new Destroy(this.#settings, done, sid), sid),
    );
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
    this.#settings.stats.reject(name, error);
    nextTick(callback, error, null);
  }

  /** Returns the lifetime of a session in ms. @param {SessionObject} session */
  #lifetime(session) {
    if (session === null || typeof session !== 'object') throw wrongType('The session', 'an object', session);
    return lifetime(session, this.#settings.ttl, this.#settings);
  }

  /**
   * Returns the lifetime of a session that expired since it was loaded, during a long request: the full lifetime again,
   * which express-session would set at the end of the request. Returns `ttl` if the app ended the session by its
   * cookie: that leaves no `originalMaxAge` above 0, or an expiry before the time when the session was alive.
   *
   * @type {(sid: string, session: SessionObject, ttl: number, record: SessionRecord | undefined) => number}
   */
  #renewedLifetime(sid, session, ttl, record) {
    const { cookie } = session;
    const maxAge = cookie?.originalMaxAge;
    if (typeof maxAge !== 'number' || !(maxAge > 0) || !cookie?.expires) return ttl;
    const since = this.#aliveSince(sid, session, record);
    const { expires } = cookie;
    const now = Date.now();
    if (!(time(expires) >= since && time(expires) <= now)) return ttl;
    cookie.expires = new Date(now + maxAge);
    cookie.originalMaxAge = maxAge;
    if (typeof this.#settings.ttl !== 'function') return Math.ceil(maxAge);
    const renewedTtl = this.#lifetime(session);
    if (renewedTtl > 0) return renewedTtl;
    // The `ttl` function ends the session regardless of its cookie, which is restored.
    cookie.expires = expires;
    cookie.originalMaxAge = maxAge;
    return ttl;
  }

  /**
   * Returns when a session was alive that may have expired since, in ms since 1970; NaN if its expiry is the app's.
   *
   * @type {(sid: string, session: SessionObject, record: SessionRecord | undefined) => number}
   */
  #aliveSince(sid, session, record) {
    if (this.#isTracked(sid, session, record)) {
      if (record !== undefined) return record.since ?? Number.NaN;
      // Created by its request: the expiry of an express-session cookie passes only with time.
      if (session.req?.sessionStore !== undefined) return 0;
    }
    const load = isPlain(session) ? undefined : this.#registry.loadOf(sid);
    return load === undefined ? Number.NaN : (loadedExpiry(session) ?? load.at);
  }

  /**
   * Returns true if the object is the session of this id, of a framework that creates one per request.
   *
   * @type {Predicate}
   */
  #isTracked(sid, session, record) {
    if (isExpressSession(session)) return session.id === sid;
    const fastify = fastifySession(session);
    if (fastify !== undefined) return fastify.id === sid;
    return record !== undefined && openIdData(session) !== undefined;
  }

  /**
   * Returns the record of a session object under an id. Adds one for a new object if there is evidence that it stems
   * from the result of `get` for the id; see docs/sessions.md.
   *
   * @type {(sid: string, session: SessionObject) => SessionRecord | undefined}
   */
  #findRecord(sid, session) {
    const record = this.#registry.find(session, sid);
    if (record !== undefined || Object.getPrototypeOf(session) === null) return record;
    if (isExpressSession(session)) return session.id === sid ? this.#findWrapped(sid, session) : undefined;
    const fastify = fastifySession(session);
    if (fastify !== undefined)
      return fastify.id === sid ? this.#findFastify(sid, session, fastify) : undefined;
    const data = openIdData(session);
    return data === undefined ? undefined : this.#registry.find(data, sid);
  }

  /**
   * Returns the record of a live session that a wrapper of this store has created, without its `createSession`.
   *
   * @type {(sid: string, session: SessionObject) => SessionRecord | undefined}
   */
  #findWrapped(sid, session) {
    const record = this.#registry.findByCookie(session.cookie, sid);
    if (record !== undefined) return this.#registry.attach(session, { ...record, other: undefined });
    if (this.#settings.generate !== undefined || !this.#isLoadedBy(session.req, sid)) return undefined;
    return this.#registry.add(session, sid, UNKNOWN_BASE, 0, 0);
  }

  /** @type {(sid: string, session: SessionObject, state: FastifySession) => SessionRecord | undefined} */
  #findFastify(sid, session, { request, hasLoadedData }) {
    const load = this.#registry.loadOf(sid);
    if (load === undefined || !(hasLoadedData || this.#isLoadedBy(request, sid))) return undefined;
    return this.#registry.add(session, sid, UNKNOWN_BASE, 0, loadedExpiry(session) ?? load.at);
  }

  /**
   * Returns true if a request presents an id for which `get` returned a session that was not destroyed here since.
   *
   * @type {(request: HttpRequest | undefined, sid: string) => boolean}
   */
  #isLoadedBy(request, sid) {
    const load = this.#registry.loadOf(sid);
    return load !== undefined && !load.isDestroyed && carriesId(request, sid);
  }

  /**
   * Returns true if a session was replaced, or if it was never saved and its request has destroyed it.
   * (express-session's `destroy` removes it from the request.)
   *
   * @type {Predicate}
   */
  #isAbandoned(sid, session, record) {
    if (this.#settings.saveDestroyed) return false;
    if (record?.isReplaced || record?.since !== undefined) return record.isReplaced;
    return (
      isExpressSession(session) &&
      session.id === sid &&
      hasLostSession(session.req) &&
      this.#registry.wasDestroyed(sid)
    );
  }

  /**
   * Returns true if a session whose first save this is was created by its request, for the event `created`. Its record,
   * if it has one, is not that of a loaded session.
   *
   * @type {Predicate}
   */
  #isNew(sid, session, record) {
    if (isExpressSession(session)) {
      // Without a record, it was created by express-session, or loaded by a wrapper.
      const isKnown = record === undefined && this.#settings.generate !== undefined;
      return session.id === sid && (isKnown || !carriesId(session.req, sid));
    }
    const fastify = fastifySession(session);
    if (fastify !== undefined) return fastify.id === sid && !fastify.hasLoadedData;
    return record !== undefined || openIdData(session) !== undefined;
  }

  /** @param {SessionObject} session @param {number} [createdAt] added to the text */
  #stringify = (session, createdAt) => {
    const { serializer, lifetimes } = this.#settings;
    return createdAt === undefined || lifetimes === undefined
      ? stringify(serializer, session)
      : lifetimes.stringify(serializer, session, createdAt);
  };
}

module.exports = { Sessions };
