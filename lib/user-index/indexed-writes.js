'use strict';

const { randomBytes } = require('node:crypto');
const { Operation } = require('../boundary/outbox.js');
const { nextTick } = require('../common/timers.js');
const { announceOf } = require('../observability/session-events.js');
const { QueuedOperation } = require('../session/keyed-queue.js');
const { keyLifetime } = require('../session/lifetime.js');
const { DISCARDED, Destroy } = require('../session/write-requests.js');
const { spanOf } = require('./known-entries.js');
const { EVICTED } = require('./user-index.js');

/** @import { Callback, KeyedQueue, SessionContext, SessionObject, Settings, User, UserIndex } from '../types.d.ts' */

/** @typedef {(done: Callback) => void} Run */

/** Starts the names of the logins of this process. */
const PROCESS = randomBytes(6).toString('base64url');
let logins = 0;

/**
 * A write of a session that asserts its index entries first. Later operations on the session wait until it was sent.
 */
class IndexedWrite {
  /**
   * @param {object} write
   * @param {string} write.name
   * @param {UserIndex} write.index
   * @param {KeyedQueue} write.queue
   * @param {Settings} write.settings
   * @param {string} write.sid
   * @param {User[]} write.users
   * @param {number} write.span how long the session may be prolonged before its entries are asserted again, in ms
   * @param {SessionObject | undefined} write.saved the session, if the write stores it
   * @param {string} write.login identifies a save that stores the session also if it does not exist; else empty
   * @param {number} write.timeout
   * @param {object} steps
   * @param {Run} steps.run sends the write
   * @param {Run} steps.evict destroys the session in its place
   */
  constructor({ name, index, queue, settings, sid, users, span, saved, login, timeout }, { run, evict }) {
    this.name = name;
    this.index = index;
    this.queue = queue;
    this.settings = settings;
    this.sid = sid;
    this.users = users;
    this.span = span;
    this.saved = saved;
    this.login = login;
    this.timeout = timeout;
    this.run = run;
    this.evict = evict;
  }

  /** Begins the write if the session is not locked. It fails by the deadline of this call. @param {Callback} callback */
  start(callback) {
    const begin = (/** @type {Callback} */ done) => this.begin(done);
    new QueuedOperation(this.name, callback, begin, this.timeout, this.settings.stats).run();
  }

  /** @param {Callback} done */
  begin(done) {
    const { index, queue, settings, sid, users, span, saved, login } = this;
    const key = settings.prefix + sid;
    queue.lock(key);
    index.assert(settings, sid, users, span, saved, login, (error, result) => {
      // A conditional save locks the session until it has ended.
      const staysLocked = !error && result !== EVICTED && saved !== undefined && settings.isConditional;
      // A callback may throw, so it is not called before the session is unlocked.
      /** @type {Callback} */
      const later = (failure, value) => nextTick(done, failure, value);
      later.trace = done.trace;
      if (error) {
        if (!done.isOver?.()) settings.stats.reject(this.name, error);
        later(error, null);
      } else if (result === EVICTED) {
        settings.stats.unsent.set++;
        this.evict(done);
      } else if (saved === undefined) this.run(later);
      else this.#save(done);
      if (!staysLocked) queue.unlock(key);
    });
  }

  /**
   * Saves the session, and asserts the entries again.
   *
   * @param {Callback} done
   */
  #save(done) {
    const { index, settings, sid, users, span, login } = this;
    /** @type {Callback} */
    const saved = (error, result) => {
      if (error || result === DISCARDED) done(error, result);
      else
        index.assertAgain(settings, sid, users, span, login, (/** @type {any} */ failure, verdict) => {
          // The session is stored, and has its entry: a store that closes meanwhile has done its work.
          if (failure && failure.code !== 'ERR_STORE_CLOSED') {
            if (!done.isOver?.()) settings.stats.fail('set', failure);
            done(failure, null);
          } else if (verdict === EVICTED) this.evict(done);
          else done(null, result);
        });
    };
    saved.trace = done.trace;
    this.run(saved);
  }
}

/** The writes of a store whose sessions are indexed. */
class IndexedWrites {
  #index;
  #context;

  /** @param {UserIndex} index @param {SessionContext} context */
  constructor(index, context) {
    this.#index = index;
    this.#context = context;
  }

  /** @param {SessionObject} session */
  usersOf(session) {
    return this.#index.keys.usersOf(session);
  }

  /** Returns true if a write need not assert the entries of a session. @type {UserIndex['covers']} */
  covers(settings, sid, users, ttl) {
    return this.#index.covers(settings, sid, users, keyLifetime(ttl));
  }

  /**
   * Begins a save. With `needsSession`, it stores nothing if the session does not exist.
   *
   * @type {(sid: string, session: SessionObject, users: User[], ttl: number, needsSession: boolean, callback: Callback,
   *   run: Run) => void}
   */
  save(sid, session, users, ttl, needsSession, callback, run) {
    const login = needsSession ? '' : PROCESS + (++logins).toString(36);
    this.#begin('set', sid, users, ttl, session, login, callback, run);
  }

  /** Begins a touch. @type {(sid: string, users: User[], ttl: number, callback: Callback, run: Run) => void} */
  touch(sid, users, ttl, callback, run) {
    this.#begin('touch', sid, users, ttl, undefined, '', callback, run);
  }

  /**
   * Begins a write that asserts index entries, then calls `run`.
   *
   * @type {(name: string, sid: string, users: User[], ttl: number, saved: SessionObject | undefined, login: string,
   *   callback: Callback, run: Run) => void}
   */
  #begin(name, sid, users, ttl, saved, login, callback, run) {
    const context = this.#context;
    const { settings, queue, timeout } = context;
    const span = spanOf(keyLifetime(ttl), settings.lifetimes?.leftOf(settings, sid));
    const parts = { name, index: this.#index, queue, settings, sid, users, span, saved, login, timeout };
    const write = new IndexedWrite(parts, {
      run: (done) => context.with(settings, () => run(done)),
      evict: (done) => context.with(settings, () => this.#evict(sid, done)),
    });
    if (context.isLocked(sid)) context.enqueue(sid, name, callback, (done) => write.begin(done));
    else write.start(callback);
  }

  /** Destroys a session that exceeds the limit of its user. @param {string} sid @param {Callback} callback */
  #evict(sid, callback) {
    const { settings, outbox } = this.#context;
    this.#context.noteDestroyed(sid);
    /** @type {Callback} */
    const done = (error) => {
      if (!error) announceOf(request, 'discarded', 'set', sid);
      callback(error, error ? null : DISCARDED);
    };
    done.trace = callback.trace;
    const request = new Destroy(settings, done, sid);
    outbox.add(Operation.DESTROY, request, sid);
  }

  /**
   * Wraps the callback of a destroy that is about to be sent: once the session is gone, its entries are dropped.
   *
   * @type {(settings: Settings, sid: string, callback: Callback) => Callback}
   */
  afterDestroy(settings, sid, callback) {
    const users = this.#index.usersOfStored(settings, sid);
    /** @type {Callback} */
    const done = (error, result) => {
      if (!error) users.then((found) => this.#index.forget(settings, sid, found)).catch(() => {});
      callback(error, result);
    };
    done.trace = callback.trace;
    return done;
  }
}

module.exports = { IndexedWrites };
