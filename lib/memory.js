'use strict';

const { ownCopy } = require('./copy.js');

/** Ids in one of the two generations: about a megabyte. */
const GENERATION = 8192;

/**
 * What this process knows of the sessions that it has loaded or saved. By identity, for as long as the
 * session object itself lives, so that nothing piles up; a request that loaded a session is told from one
 * that made it, and each has its own base to compare with.
 *
 * A record: `id`; `base`, the text that was loaded or last saved (only where conflicts are looked for);
 * `ends`, when the stored session ends, in ms since 1970 (0: not known).
 */
class Memory {
  #records = new WeakMap();
  #young = new Set();
  #old = new Set();
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
    return record?.id === id ? record : undefined;
  }

  /** Remembers a session object that was loaded, or that is about to be saved. */
  keep(session, id, base, ends) {
    const record = { id, base, ends };
    this.#records.set(session, record);
    return record;
  }

  /** The live session that was made of what `get` gave has its record. */
  adopt(session, loaded, id) {
    const record = this.recall(loaded, id);
    if (record !== undefined) this.#records.set(session, record);
    return record;
  }

  forget(session) {
    this.#records.delete(session);
  }

  /**
   * For frameworks that make session objects of their own of what `get` gave: the ids that were loaded.
   * The older ones are forgotten when there are many.
   */
  keepId(id) {
    this.#young.add(id);
    if (this.#young.size < GENERATION) return;
    this.#old = this.#young;
    this.#young = new Set();
  }

  knowsId(id) {
    return this.#young.has(id) || this.#old.has(id);
  }
}

module.exports = { Memory };
