'use strict';

const { randomBytes } = require('node:crypto');
const { nextTick } = require('../common/timers.js');
const { QueuedOperation } = require('../session/keyed-queue.js');
const { DISCARDED } = require('../session/save.js');
const { EVICTED } = require('./user-index.js');

/** @import { Callback, KeyedQueue, SessionObject, Settings, User, UserIndex } from '../types.d.ts' */

/** Starts the names of the logins of this process. */
const PROCESS = randomBytes(6).toString('base64url');
let logins = 0;

/**
 * A write of a session that asserts its index entries first. Later operations on the session wait until it was sent.
 */
class IndexedWrite {
  /** Sends the write. @type {(done: Callback) => void} */
  run = () => {};
  /** Destroys the session in its place. @type {(done: Callback) => void} */
  evict = () => {};

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
   */
  constructor({ name, index, queue, settings, sid, users, span, saved, login, timeout }) {
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
  #queue;
  #timeout;

  /** @param {UserIndex} index @param {KeyedQueue} queue @param {number} timeout */
  constructor(index, queue, timeout) {
    this.#index = index;
    this.#queue = queue;
    this.#timeout = timeout;
  }

  /** @param {SessionObject} session */
  usersOf(session) {
    return this.#index.keys.usersOf(session);
  }

  /** @type {UserIndex['covers']} */
  covers(settings, sid, users, ttl) {
    return this.#index.covers(settings, sid, users, ttl);
  }

  /** @type {(settings: Settings, sid: string, session: SessionObject, users: User[], span: number, needsSession: boolean) => IndexedWrite} */
  save(settings, sid, session, users, span, needsSession) {
    const login = needsSession ? '' : PROCESS + (++logins).toString(36);
    return this.#write('set', settings, sid, users, span, session, login);
  }

  /** @type {(settings: Settings, sid: string, users: User[], span: number) => IndexedWrite} */
  touch(settings, sid, users, span) {
    return this.#write('touch', settings, sid, users, span, undefined, '');
  }

  /** @type {(name: string, settings: Settings, sid: string, users: User[], span: number, saved: SessionObject | undefined, login: string) => IndexedWrite} */
  #write(name, settings, sid, users, span, saved, login) {
    const [index, queue, timeout] = [this.#index, this.#queue, this.#timeout];
    return new IndexedWrite({ name, index, queue, settings, sid, users, span, saved, login, timeout });
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
