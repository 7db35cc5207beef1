'use strict';

const { asError } = require('../common/app-functions.js');
const { RedisStoreError } = require('../common/store-error.js');
const { nextTick } = require('../common/timers.js');
const { IndexKeys, USER } = require('./index-keys.js');
const { KnownEntries, lifeOf } = require('./known-entries.js');
const { SessionReads } = require('./session-reads.js');
const { ASSERT } = require('./scripts.js');
const { addScript, runScript } = require('./script-request.js');

/** @import { ErrorCode } from '../../index.js' */
/** @import { Backend, Callback, IndexOptions, SessionObject, Settings, User } from '../types.d.ts' */

/** The result of an assertion after which the session must not be stored. */
const EVICTED = 'evicted';

/**
 * The indexes of a store: for each user, the ids of the sessions.
 *
 * Invariant: every live session of a user is in that user's index. An entry is asserted before its session is stored,
 * and dropped only once the session is gone.
 */
class UserIndex {
  #outbox;
  #known = new KnownEntries();
  #timeout;
  #most;
  #isRejecting;
  /** @type {(session: any) => unknown} */
  #authenticatedAt;

  /** @param {Backend} outbox @param {IndexOptions} options @param {number} timeout of operations, in ms */
  constructor(outbox, options, timeout) {
    this.#outbox = outbox;
    this.#timeout = timeout;
    this.keys = new IndexKeys(options);
    this.#most = options.maxSessionsOf;
    this.#isRejecting = options.onSessionLimit === 'reject';
    this.#authenticatedAt = options.authenticatedAt;
    this.reads = new SessionReads(outbox, this.keys, timeout);
  }

  /**
   * Returns true if a session has entries, in the indexes of these users, that outlive it when its lifetime starts now.
   *
   * @type {(settings: Settings, id: string, users: User[], ttl: number) => boolean}
   */
  covers(settings, id, users, ttl) {
    return users.length === 0 || this.#known.cover(settings.prefix, id, users, ttl);
  }

  /**
   * Asserts the entries of a session that is about to be stored, or touched. Passes `EVICTED` to the callback if the
   * session has to be destroyed instead.
   *
   * @param {Settings} settings
   * @param {string} id
   * @param {User[]} users
   * @param {number} span how long the session may be prolonged before the next assertion, in ms; 0 for ever
   * @param {SessionObject | undefined} saved the session, if it may be a new one of its user: limits apply
   * @param {string} login identifies the save of a session that may not exist; empty for another one
   * @param {Callback} callback
   */
  assert(settings, id, users, span, saved, login, callback) {
    this.#assertAll(settings, id, users, span, saved, login).then(
      (result) => nextTick(callback, null, result),
      (error) => nextTick(callback, asError(error), null),
    );
  }

  /** @type {(settings: Settings, id: string, users: User[], span: number, saved: SessionObject | undefined, login: string) => Promise<unknown>} */
  async #assertAll(settings, id, users, span, saved, login) {
    const keys = this.keys.ofUsers(users, settings.prefix);
    const results = await Promise.all(
      keys.map((key) => this.#assertOne(settings, id, key, span, saved, login)),
    );
    if (results.includes(EVICTED)) return EVICTED;
    this.#known.add(settings.prefix, id, users, span);
    return null;
  }

  /** @type {(settings: Settings, id: string, key: string, span: number, saved: SessionObject | undefined, login: string) => Promise<unknown>} */
  async #assertOne(settings, id, key, span, saved, login) {
    const most = saved === undefined || !this.#isOfUser(key) ? 0 : this.#limit(saved);
    const since = saved === undefined ? '' : this.#authentication(saved);
    const life = this.lifeOf(span);
    const run = (/** @type {string} */ mode, /** @type {string[]} */ ignored) =>
      runScript(settings, this.#outbox, ASSERT, key, [
        id,
        life,
        String(most),
        mode,
        since,
        login,
        ...ignored,
      ]);
    let [status, ...others] = await run('check', []);
    if (status === 'full') {
      const ignored = await this.#dead(settings, key, others);
      [status, ...others] = await run(this.#isRejecting ? 'reject' : 'evict', ignored);
    }
    if (status === 'full')
      throw refused('ERR_SESSION_LIMIT', `the user has ${most} sessions, the most allowed`);
    if (status === 'fenced')
      throw refused(
        'ERR_SESSION_REVOKED',
        'the user has authenticated before the time from which sessions are accepted ("notBefore")',
      );
    if (status === EVICTED) return EVICTED;
    await this.#destroyEvicted(settings, key, others);
    return null;
  }

  /** @type {(settings: Settings, key: string, entries: string[]) => Promise<void>} */
  async #destroyEvicted(settings, key, entries) {
    for (let at = 0; at < entries.length; at += 2)
      await this.reads.destroyMarked(settings, key, { id: entries[at], value: entries[at + 1] });
  }

  /** Returns the life of an entry, for the script. @param {number} span */
  lifeOf(span) {
    return String(lifeOf(span, this.#timeout));
  }

  /** @param {string} key */
  #isOfUser(key) {
    return this.keys.isOf(USER, key);
  }

  /** @param {SessionObject} session */
  #limit(session) {
    return this.#most === undefined ? 0 : this.#most(session);
  }

  /** @param {SessionObject} session */
  #authentication(session) {
    const at = this.#authenticatedAt(session);
    const ms = at === undefined || at === null ? Number.NaN : new Date(/** @type {any} */ (at)).getTime();
    return Number.isNaN(ms) ? '' : String(ms);
  }

  /**
   * Drops the entries of sessions that are gone, and returns the ids of those that do not count: gone, or of another
   * user.
   *
   * @type {(settings: Settings, key: string, entries: string[]) => Promise<string[]>}
   */
  async #dead(settings, key, entries) {
    const ids = entries.filter((_, at) => at % 2 === 0);
    const states = await Promise.all(ids.map((id) => this.reads.stateOf(settings, key, id)));
    const gone = ids.flatMap((id, at) => (states[at] === 'gone' ? [id, entries[2 * at + 1]] : []));
    if (gone.length > 0) await this.reads.drop(settings, key, gone);
    return ids.filter((_, at) => states[at] === 'foreign');
  }

  /**
   * Asserts the entries again once the session is stored: a reader may have dropped them in between, when it did not find
   * the session. Passes `EVICTED` to the callback if the session was destroyed in between: the save may have restored it,
   * as it may have been sent more than once.
   *
   * @type {(settings: Settings, id: string, users: User[], span: number, login: string, callback: Callback) => void}
   */
  assertAgain(settings, id, users, span, login, callback) {
    const life = this.lifeOf(span);
    const keys = this.keys.ofUsers(users, settings.prefix);
    const calls = keys.map((key) => [key, id, life, '0', 'again', '', login]);
    addScript(settings, this.#outbox, ASSERT, calls, (error, replies) =>
      callback(error, !error && replies.includes(EVICTED) ? EVICTED : null),
    );
  }

  /**
   * Returns the users of a session that is about to be destroyed. Reads it unless this process has asserted its entries.
   *
   * @type {(settings: Settings, id: string) => Promise<User[]>}
   */
  async usersOfStored(settings, id) {
    const known = this.#known.remove(settings.prefix, id);
    if (known !== undefined) return known;
    try {
      const stored = await this.reads.read(settings, id);
      return stored === null ? [] : this.keys.usersOf(await this.reads.parse(settings, stored.text));
    } catch {
      // Nothing depends on it: readers drop the entries.
      return [];
    }
  }

  /**
   * Drops the entries of a session that was destroyed.
   *
   * @type {(settings: Settings, id: string, users: User[]) => Promise<unknown>}
   */
  forget(settings, id, users) {
    return Promise.all(
      this.keys.ofUsers(users, settings.prefix).map((key) => this.#prune(settings, id, key)),
    );
  }

  /** @type {(settings: Settings, id: string, key: string) => Promise<void>} */
  async #prune(settings, id, key) {
    const value = await this.reads.entry(settings, key, id);
    if (value === undefined || (await this.reads.stateOf(settings, key, id)) !== 'gone') return;
    await this.reads.drop(settings, key, [id, value], true);
  }
}

/** Creates the error of a save that a rule refuses. @param {ErrorCode} code @param {string} reason */
function refused(code, reason) {
  return new RedisStoreError(`set failed: ${reason}`, { code, operation: 'set' });
}

module.exports = { EVICTED, UserIndex };
