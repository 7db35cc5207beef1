'use strict';

const { Operation } = require('../boundary/outbox.js');
const { Kind, Request } = require('../boundary/request.js');
const { toPromise } = require('../callbacks.js');
const { isThenable, withTimeout } = require('../common/app-functions.js');
const { Destroy, noteDestroyed } = require('../session/write-requests.js');
const { DROP, READ, READ_ONE } = require('./scripts.js');
const { runScript } = require('./script-request.js');

/** @import { Backend, Callback, Complete, IndexKeys, SessionObject, Settings } from '../types.d.ts' */

/**
 * Entries are kept this long without their session, in ms: no login between its steps is that slow, and no save that
 * has to be sent again.
 */
const GRACE = '60000';
const MARK = ' evicted';
/** The number of entries in a page. */
const PAGE = '128';
/** A session that changes this often between a read and its deletion is deleted by its id. */
const MAX_CHANGES = 16;

/** Passes the kind and the text of a completion to its callback. */
class Conditional extends Request {
  /** @type {Complete} */
  complete(kind, text) {
    if (kind === Kind.FAILED) super.complete(kind, text);
    else this.succeed({ kind, text });
  }
}

/** Destroys a session, if the expected text is stored. */
class ConditionalDestroy extends Conditional {
  /** @param {Settings} store @param {Callback} callback @param {string} id */
  constructor(store, callback, id) {
    super(store, callback, 'destroy');
    this.id = id;
  }

  /** @type {Complete} */
  complete(kind, text, number) {
    if (kind === Kind.DONE) noteDestroyed(this, this.id);
    super.complete(kind, text, number);
  }
}

/** Reads a stored text, with the expiry of its key. */
class TextRead extends Request {
  isTimed = true;

  /** @type {Complete} */
  complete(kind, text, ends) {
    if (kind === Kind.FAILED) super.complete(kind, text);
    else this.succeed(kind === Kind.SESSION && text !== '' ? { text, ends } : null);
  }
}

/** Reads, and destroys, the sessions of the entries of indexes. */
class SessionReads {
  #outbox;
  #keys;
  #timeout;

  /** @param {Backend} outbox @param {IndexKeys} keys @param {number} timeout of operations, in ms */
  constructor(outbox, keys, timeout) {
    this.#outbox = outbox;
    this.#keys = keys;
    this.#timeout = timeout;
  }

  /** Runs `add` with the prefix of the settings. @type {(settings: Settings, add: () => void) => void} */
  #with(settings, add) {
    this.#outbox.withPrefix(settings.prefix, add);
  }

  /** @type {(settings: Settings, id: string) => Promise<{ text: string, ends: number } | null>} */
  read(settings, id) {
    return toPromise((done) =>
      this.#with(settings, () =>
        this.#outbox.add(Operation.GET_TIMED, new TextRead(settings, done, 'get'), id),
      ),
    );
  }

  /**
   * Destroys a session if `base` is stored. With an empty one, it reads the session from the primary.
   *
   * @type {(settings: Settings, id: string, base: string) => Promise<{ kind: number, text: string }>}
   */
  #destroyIfEqual(settings, id, base) {
    return toPromise((done) =>
      this.#with(settings, () =>
        this.#outbox.add(
          Operation.DESTROY_IF_EQUAL,
          new ConditionalDestroy(settings, done, id),
          id,
          '',
          0,
          base,
        ),
      ),
    );
  }

  /** Replaces a text that is still stored. @type {(settings: Settings, id: string, text: any, ttl: number, base: string) => Promise<{ kind: number, text: string }>} */
  replace(settings, id, text, ttl, base) {
    return toPromise((done) =>
      this.#with(settings, () =>
        this.#outbox.add(Operation.SET_IF_EQUAL, new Conditional(settings, done, 'set'), id, text, ttl, base),
      ),
    );
  }

  /** Returns the text that the primary has; null if there is none. @type {(settings: Settings, id: string) => Promise<string | null>} */
  async current(settings, id) {
    const { kind, text } = await this.#destroyIfEqual(settings, id, '');
    return kind === Kind.CONFLICT ? text : null;
  }

  /** Parses a stored session. @type {(settings: Settings, text: string) => Promise<any>} */
  async parse({ serializer }, text) {
    const session = serializer.parse(text);
    return isThenable(session) ? withTimeout(session, this.#timeout, 'user index') : session;
  }

  /**
   * Returns true if a stored session belongs to an index. A text that cannot be read belongs to none.
   *
   * @type {(settings: Settings, key: string, text: string) => Promise<boolean>}
   */
  async isOwned(settings, key, text) {
    let session;
    try {
      session = await this.parse(settings, text);
    } catch {
      return false;
    }
    return this.belongs(settings, key, session);
  }

  /** @type {(settings: Settings, key: string, session: unknown) => boolean} */
  belongs(settings, key, session) {
    if (session === null || typeof session !== 'object') return false;
    return this.#keys.of(/** @type {SessionObject} */ (session), settings.prefix).includes(key);
  }

  /** @type {(settings: Settings, key: string, id: string) => Promise<'gone' | 'foreign' | 'owned'>} */
  async stateOf(settings, key, id) {
    const text = await this.current(settings, id);
    if (text === null) return 'gone';
    return (await this.isOwned(settings, key, text)) ? 'owned' : 'foreign';
  }

  /**
   * Destroys a session if it belongs to an index, and drops its entry. Returns true if it destroyed the session.
   *
   * @type {(settings: Settings, key: string, entry: { id: string, value: string }) => Promise<boolean>}
   */
  async destroy(settings, key, { id, value }) {
    const outcome = await this.#destroyOwned(settings, key, id);
    // If there was none, a login may be about to store it. An entry is never dropped while its session lives.
    if (outcome !== 'foreign') await this.drop(settings, key, [id, value], outcome === 'destroyed');
    return outcome === 'destroyed';
  }

  /**
   * Destroys the session of a marked entry, unless another login has taken over the id.
   *
   * @type {(settings: Settings, key: string, entry: { id: string, value: string }) => Promise<void>}
   */
  async destroyMarked(settings, key, { id, value }) {
    for (let changes = 0; changes < MAX_CHANGES; changes++) {
      const text = await this.current(settings, id);
      if (text !== null) {
        if (!(await this.isOwned(settings, key, text))) return;
        if ((await this.entry(settings, key, id)) !== value) return;
        if ((await this.#destroyIfEqual(settings, id, text)).kind === Kind.CONFLICT) continue;
      }
      await this.drop(settings, key, [id, value]);
      return;
    }
  }

  /** Returns the value of an entry; undefined if there is none. @type {(settings: Settings, key: string, id: string) => Promise<string | undefined>} */
  async entry(settings, key, id) {
    const [value] = await runScript(settings, this.#outbox, READ_ONE, key, [id]);
    return value;
  }

  /** @type {(settings: Settings, key: string, id: string) => Promise<'destroyed' | 'gone' | 'foreign'>} */
  async #destroyOwned(settings, key, id) {
    let base = '';
    for (let changes = 0; changes <= MAX_CHANGES; changes++) {
      const { kind, text } = await this.#destroyIfEqual(settings, id, base);
      if (kind !== Kind.CONFLICT) return kind === Kind.DONE && base !== '' ? 'destroyed' : 'gone';
      if (!(await this.isOwned(settings, key, text))) return 'foreign';
      // Not UTF-8: its bytes equal no text.
      if (text === base) break;
      base = text;
    }
    await toPromise((done) =>
      this.#with(settings, () => this.#outbox.add(Operation.DESTROY, new Destroy(settings, done, id), id)),
    );
    return 'destroyed';
  }

  /**
   * Iterates over the entries of an index, page by page.
   *
   * @param {Settings} settings
   * @param {string} key
   */
  async *pages(settings, key) {
    const seen = new Set();
    let cursor = '0';
    do {
      const [next, ...flat] = await runScript(settings, this.#outbox, READ, key, [cursor, PAGE]);
      cursor = next;
      const entries = [];
      for (let at = 0; at < flat.length; at += 2) {
        const [id, value] = [flat[at], flat[at + 1]];
        if (seen.has(id)) continue;
        seen.add(id);
        const [made, , , , mark] = value.split(' ');
        entries.push({ id, value, made: Number(made), isEvicted: mark !== undefined });
      }
      if (entries.length > 0) yield entries;
    } while (cursor !== '0');
  }

  /**
   * Drops entries, given as ids and values, of sessions that are gone. If they were destroyed, marks those that were
   * asserted recently: a save that is still being sent again could restore the session.
   *
   * @type {(settings: Settings, key: string, entries: string[], areDestroyed?: boolean) => Promise<unknown>}
   */
  drop(settings, key, entries, areDestroyed = false) {
    const args = [GRACE, areDestroyed ? MARK : '', ...entries];
    return runScript(settings, this.#outbox, DROP, key, args);
  }
}

module.exports = { SessionReads };
