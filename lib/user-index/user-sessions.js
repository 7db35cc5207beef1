'use strict';

const { Kind } = require('../boundary/request.js');
const { wrongType, wrongValue } = require('../common/errors.js');
const { RedisStoreError } = require('../common/store-error.js');
const { NEVER } = require('../session/expiry.js');
const { entryOf } = require('../session/scan.js');
const { stringify } = require('../session/stringify.js');
const { USER } = require('./index-keys.js');
const { spanOf } = require('./known-entries.js');
const { ADD, ASSERT, SET_FENCE } = require('./scripts.js');
const { runScript, runScripts } = require('./script-request.js');

/** @import { Backend, SessionObject, Settings, UserIndex } from '../types.d.ts' */

/** The number of sessions that are read, destroyed or indexed at once. */
const CHUNK = 64;
/** The number of entries in a batch of `reindex`. */
const REINDEXED = 128;
/** The number of batches in flight while the next one is prepared. */
const MAX_BATCHES = 4;
/** A safeguard: each round needs a session that began after the one before. */
const MAX_ROUNDS = 100;
/** The number of attempts to change a session that others change, too. */
const MAX_CHANGES = 100;
/** The duration of a fence, in ms: no login takes longer. */
const FENCE_LIFE = 24 * 60 * 60 * 1000;

/** @typedef {{ id: string, value: string, made: number, isEvicted: boolean }} Entry */

/** Splits a list. @template T @param {T[]} list */
function* chunksOf(list) {
  for (let at = 0; at < list.length; at += CHUNK) yield list.slice(at, at + CHUNK);
}

/** The operations of a store on the sessions of a user. */
class UserSessions {
  #settings;
  #outbox;
  #index;
  #timeout;
  #onDestroyed;

  /**
   * @param {object} parts
   * @param {Settings} parts.settings
   * @param {Backend} parts.outbox
   * @param {UserIndex} parts.index
   * @param {number} parts.timeout
   * @param {(id: string) => void} parts.onDestroyed
   */
  constructor({ settings, outbox, index, timeout, onDestroyed }) {
    this.#settings = settings;
    this.#outbox = outbox;
    this.#index = index;
    this.#timeout = timeout;
    this.#onDestroyed = onDestroyed;
  }

  /**
   * Returns the key of a user's index. Rejects unknown options: a misspelled `except` would destroy the session that it
   * should keep.
   *
   * @type {(user: unknown, options: any, others?: string[]) => string}
   */
  key(user, options, others = []) {
    if (options === null || typeof options !== 'object')
      throw wrongType('The last argument', 'an object with options', options);
    const known = [...others, 'index'];
    for (const name of Object.keys(options))
      if (!known.includes(name)) throw wrongValue(`The option "${name}"`, `one of ${known.join(', ')}`);
    const { index = USER } = options;
    return this.#index.keys.ofUser(index, user, this.#settings.prefix);
  }

  /** Iterates over the live sessions of a user. @param {string} key */
  async *list(key) {
    const { reads } = this.#index;
    const settings = this.#settings;
    for await (const page of reads.pages(settings, key)) {
      for (const entries of chunksOf(page)) {
        const found = await Promise.all(entries.map(({ id }) => reads.read(settings, id)));
        const missing = entries.filter((_, at) => found[at] === null);
        const late = missing.length > 0 ? await this.#dropDead(key, missing) : new Map();
        for (const [at, entry] of entries.entries()) {
          const stored = found[at] ?? late.get(entry.id);
          if (stored === undefined) continue;
          if (entry.isEvicted) await reads.destroyMarked(settings, key, entry);
          else {
            const info = await this.#infoOf(key, entry, stored);
            if (info !== undefined) yield info;
          }
        }
      }
    }
  }

  /**
   * Drops the entries whose sessions are gone. Returns the others, which a replica did not have.
   *
   * @type {(key: string, entries: Entry[]) => Promise<Map<string, { text: string, ends: number }>>}
   */
  async #dropDead(key, entries) {
    const { reads } = this.#index;
    const texts = await Promise.all(entries.map(({ id }) => reads.current(this.#settings, id)));
    const dead = entries.filter((_, at) => texts[at] === null);
    const pairs = dead.flatMap(({ id, value }) => [id, value]);
    if (dead.length > 0) await reads.drop(this.#settings, key, pairs);
    const late = new Map();
    for (const [at, { id }] of entries.entries())
      if (texts[at] !== null) late.set(id, { text: texts[at], ends: 0 });
    return late;
  }

  /** @type {(key: string, entry: Entry, stored: { text: string, ends: number }) => Promise<any>} */
  async #infoOf(key, { id, made }, { text, ends }) {
    const settings = this.#settings;
    const read = await entryOf(settings, { id, text, ends }, this.#timeout, undefined);
    // Past its deadline.
    if (read === undefined) return undefined;
    const { session, ttl, error } = read;
    if (session !== null && !this.#index.reads.belongs(settings, key, session)) return undefined;
    const hasEnd = ends !== 0 && ends !== NEVER;
    return {
      handle: settings.sessionHash(id),
      session,
      createdAt: new Date(made),
      lastSeenAt: hasEnd ? lastSeen(settings, session, ends) : null,
      expiresAt: hasEnd ? new Date(ends) : null,
      ttl,
      ...(error === undefined ? {} : { error }),
    };
  }

  /** @param {string} key */
  async count(key) {
    let count = 0;
    for await (const { session } of this.list(key)) if (session !== null) count++;
    return count;
  }

  /** Destroys the sessions of entries, and returns how many. @type {(key: string, entries: Entry[]) => Promise<number>} */
  async #destroy(key, entries) {
    const { reads } = this.#index;
    const results = await Promise.all(entries.map((entry) => reads.destroy(this.#settings, key, entry)));
    const destroyed = entries.filter((_, at) => results[at]);
    for (const { id } of destroyed) this.#onDestroyed(id);
    return destroyed.length;
  }

  /**
   * Destroys the sessions of a user until none is left but those excepted. Returns how many.
   *
   * @type {(key: string, options: { except?: unknown, notBefore?: unknown }) => Promise<number>}
   */
  async destroyAll(key, { except, notBefore }) {
    const kept = new Set(exceptions(except));
    if (notBefore !== undefined && notBefore !== null) {
      const fence = [String(timeOf(notBefore)), String(FENCE_LIFE)];
      await runScript(this.#settings, this.#outbox, SET_FENCE, key, fence);
    }
    let total = 0;
    for (let round = 0; round < MAX_ROUNDS; round++) {
      let destroyed = 0;
      for await (const page of this.#index.reads.pages(this.#settings, key))
        for (const entries of chunksOf(page.filter(({ id }) => !kept.has(id))))
          destroyed += await this.#destroy(key, entries);
      total += destroyed;
      if (destroyed === 0) break;
    }
    return total;
  }

  /** @type {(key: string, handle: unknown) => Promise<boolean>} */
  async destroyByHandle(key, handle) {
    if (typeof handle !== 'string') throw wrongType('The handle', 'a string', handle);
    for await (const page of this.#index.reads.pages(this.#settings, key)) {
      const entry = page.find(({ id }) => this.#settings.sessionHash(id) === handle);
      if (entry !== undefined) return (await this.#destroy(key, [entry])) > 0;
    }
    return false;
  }

  /**
   * Changes the sessions of a user by a function, each by compare-and-set. Returns how many were changed.
   *
   * @type {(key: string, change: (session: any) => unknown) => Promise<number>}
   */
  async updateAll(key, change) {
    if (typeof change !== 'function')
      throw wrongType('The second argument of updateAllOf', 'a function', change);
    let updated = 0;
    for await (const page of this.#index.reads.pages(this.#settings, key))
      for (const entries of chunksOf(page)) {
        const results = await Promise.all(entries.map(({ id }) => this.#update(key, id, change)));
        updated += results.filter(Boolean).length;
      }
    return updated;
  }

  /** @type {(key: string, id: string, change: (session: any) => unknown) => Promise<boolean>} */
  async #update(key, id, change) {
    const settings = this.#settings;
    const { reads } = this.#index;
    for (let changes = 0; changes < MAX_CHANGES; changes++) {
      const stored = await reads.read(settings, id);
      if (stored === null) return false;
      const { text, ends } = stored;
      let session = await reads.parse(settings, text);
      if (!reads.belongs(settings, key, session)) return false;
      const returned = await change(session);
      if (returned === false) return false;
      if (returned !== undefined) session = returned;
      if (session === null || typeof session !== 'object')
        throw wrongType('What the function of updateAllOf returns', 'a session, or undefined', session);
      const ttl = ends === NEVER || ends === 0 ? 0 : ends - Date.now();
      if (ttl < 0) return false;
      const changed = stringify(settings.serializer, session);
      if (String(changed) === text) return false;
      await this.#add(this.#entriesOf(id, session, ttl));
      const { kind } = await reads.replace(settings, id, changed, ttl, text);
      if (kind === Kind.DONE) return true;
      if (kind === Kind.MISSING) return false;
    }
    throw new RedisStoreError(
      'updateAllOf failed: others have changed a session repeatedly, or it is not UTF-8',
      { code: 'ERR_SESSION_CONFLICT', operation: 'updateAllOf' },
    );
  }

  /**
   * Adds entries of sessions that exist, each given as the key of its index, the id and the life.
   *
   * @type {(entries: [key: string, id: string, life: string][]) => Promise<void>}
   */
  async #add(entries) {
    if (entries.length === 0) return;
    const replies = await runScripts(this.#settings, this.#outbox, ADD, entries);
    const present = entries.filter((_, at) => replies[at] === 'present');
    if (present.length === 0) return;
    const calls = present.map((entry) => [...entry, '0', '', '', '']);
    await runScripts(this.#settings, this.#outbox, ASSERT, calls);
  }

  /** @type {(id: string, session: SessionObject, ttl: number) => [key: string, id: string, life: string][]} */
  #entriesOf(id, session, ttl) {
    const life = this.#index.lifeOf(spanOf(ttl));
    return this.#index.keys.of(session, this.#settings.prefix).map((key) => [key, id, life]);
  }

  /**
   * Adds the entries of sessions that a scan yields. Returns the number of sessions with an entry.
   *
   * @param {AsyncIterable<any>} scanned
   */
  async reindex(scanned) {
    let count = 0;
    let entries = [];
    /** The batches in flight: the next one is prepared meanwhile. @type {Promise<unknown>[]} */
    const batches = [];
    for await (const { id, session, ttl } of scanned) {
      if (session === null) continue;
      const added = this.#entriesOf(id, session, ttl === null ? 0 : Math.max(1, ttl * 1000));
      if (added.length === 0) continue;
      count++;
      entries.push(...added);
      if (entries.length < REINDEXED) continue;
      const batch = this.#add(entries);
      // It is awaited later: until then, a rejection must not count as unhandled.
      batch.catch(() => {});
      batches.push(batch);
      entries = [];
      if (batches.length > MAX_BATCHES) await batches.shift();
    }
    await Promise.all([...batches, this.#add(entries)]);
    return count;
  }
}

/**
 * Returns when a session was last saved or touched: its lifetime before its end.
 *
 * @type {(settings: Settings, session: SessionObject | null, ends: number) => Date | null}
 */
function lastSeen({ ttl }, session, ends) {
  const maxAge = session?.cookie?.originalMaxAge;
  if (typeof ttl === 'function') return null;
  return new Date(ends - (typeof maxAge === 'number' && maxAge > 0 ? maxAge : ttl * 1000));
}

/** @param {unknown} except @returns {string[]} */
function exceptions(except) {
  if (except === undefined || except === null) return [];
  const ids = Array.isArray(except) ? except : [except];
  if (!ids.every((id) => typeof id === 'string'))
    throw wrongType('The "except" option', 'a session id, or a list of them', except);
  return ids;
}

/** @param {unknown} time */
function timeOf(time) {
  const ms = time instanceof Date || typeof time === 'number' ? Number(time) : Number.NaN;
  if (!Number.isFinite(ms)) throw wrongValue('The "notBefore" option', 'a date, or ms since 1970', undefined);
  return Math.floor(ms);
}

module.exports = { UserSessions };
