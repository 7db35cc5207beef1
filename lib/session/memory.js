'use strict';

const { ownCopy } = require('./copy.js');

/** Ids that are kept at least: about a megabyte. */
const MOST_IDS = 8192;

/** The base of a session that was loaded by somebody else: what is stored is a conflict unless it is what is saved. */
const UNKNOWN = '';

/** Ids and when they were kept. The older ones are forgotten when there are many. */
class Recent {
  #young = new Map();
  #old = new Map();

  keep(id) {
    this.#young.set(id, Date.now());
    if (this.#young.size < MOST_IDS) return;
    this.#old = this.#young;
    this.#young = new Map();
  }

  /** In ms since 1970; undefined if the id is not known. */
  time(id) {
    return this.#young.get(id) ?? this.#old.get(id);
  }
}

/** The last ids. To keep one costs next to nothing; to look for one means to go through all. */
class Last {
  #ids = [];
  #at = 0;

  keep(id) {
    this.#ids[this.#at] = id;
    this.#at = (this.#at + 1) % MOST_IDS;
  }

  has(id) {
    return this.#ids.includes(id);
  }
}

/**
 * What this process knows of the sessions that it has loaded or saved. By identity, for as long as the
 * session object itself lives, so that nothing piles up; a request that loaded a session is told from one
 * that made it, and each has its own base to compare with.
 *
 * A record: `id`; `base`, the text that was loaded or last saved (only where conflicts are looked for), or `UNKNOWN`;
 * `unsure`, what saves that failed may have stored, and what they knew; `failure`, of the first save; `ends`, when the
 * stored session ends, and `since`, when it was alive, in ms since 1970 (0: not known); `since` is undefined once the
 * session was ended by a save or touch of this very object; `other`, the record of the
 * same object under another id.
 */
class Memory {
  #records = new WeakMap();
  #loaded = new Recent();
  #destroyed = new Last();
  #abandoned = new WeakSet();
  #keepsBases;

  /** @param keeps what is to be known of a session besides that it was loaded */
  constructor(keeps) {
    this.#keepsBases = keeps.bases;
    /** What `get` gives is remembered by itself. */
    this.keepsLoaded = keeps.bases || keeps.ends;
  }

  /** What `get` gave. */
  load(session, id, text, ends) {
    this.keepId(id);
    if (this.keepsLoaded && session !== null && typeof session === 'object')
      this.keep(session, id, this.#keepsBases ? ownCopy(text) : undefined, ends);
  }

  /** The record of a session object, if it was loaded or saved under this id. */
  recall(session, id) {
    const record = this.#records.get(session);
    if (record === undefined || record.id === id) return record;
    return record.other?.id === id ? record.other : undefined;
  }

  /**
   * Remembers a session object that was loaded, or that is about to be saved. One that is stored under another id
   * as well stays what it is: of the others, the last is remembered.
   */
  keep(session, id, base, ends) {
    const record = { id, base, unsure: undefined, failure: undefined, ends, since: 0, other: undefined };
    const first = this.#records.get(session);
    if (first === undefined || first.id === id) this.#records.set(session, record);
    else first.other = record;
    return record;
  }

  /** The live session that was made of what `get` gave is known by the same. Others may be made of it as well. */
  adopt(session, loaded, id) {
    const record = this.recall(loaded, id);
    if (record !== undefined) this.#records.set(session, { ...record, other: undefined });
    return record;
  }

  forget(session, record) {
    const first = this.#records.get(session);
    if (first === record) this.#records.delete(session);
    else if (first?.other === record) first.other = undefined;
  }

  /** For frameworks and wrappers that make session objects of their own of what `get` gave. */
  keepId(id) {
    this.#loaded.keep(id);
  }

  /** When the session under an id was loaded, in ms since 1970, if it was. */
  loadedAt(id) {
    return this.#loaded.time(id);
  }

  /** The session under an id is being destroyed by this process. */
  keepDestroyed(id) {
    this.#destroyed.keep(id);
  }

  /** Dear, and seldom to be asked: of a session that was never saved and that its request has lost. */
  wasDestroyed(id) {
    return this.#destroyed.has(id);
  }

  /** The session object is about to be replaced. */
  keepAbandoned(session) {
    this.#abandoned.add(session);
  }

  wasAbandoned(session) {
    return this.#abandoned.has(session);
  }
}

module.exports = { Memory, UNKNOWN };
