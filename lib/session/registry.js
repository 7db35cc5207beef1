'use strict';

const { ownCopy } = require('./flat-copy.js');
const { openIdData } = require('./frameworks.js');

/** Minimum number of ids that are kept: about a megabyte. */
const MOST_IDS = 8192;

/** The base of a session that was loaded by somebody else: what is stored is a conflict unless it is what is saved. */
const UNKNOWN = '';

/** The ids for which `get` returned sessions last. The older ones are forgotten when there are many. */
class Loads {
  #young = new Map();
  #old = new Map();

  add(id) {
    const load = { at: Date.now(), isTaken: false, isDestroyed: false };
    this.#young.set(id, load);
    if (this.#young.size >= MOST_IDS) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    return load;
  }

  get(id) {
    return this.#young.get(id) ?? this.#old.get(id);
  }

  delete(id) {
    this.#young.delete(id);
    this.#old.delete(id);
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

/** A session on its way to the callback of `get`. */
class Handover {
  isTaken = false;

  /**
   * @param cookie what the session has as its cookie before the callback
   * @param load of the id, if that is kept
   * @param text that was loaded, where it is kept
   */
  constructor(registry, id, session, cookie, load, text, ends, outer) {
    this.registry = registry;
    this.id = id;
    this.session = session;
    this.cookie = cookie;
    this.load = load;
    this.text = text;
    this.ends = ends;
    this.outer = outer;
  }
}

/** A session may be whatever an app's `parse` has made of it. */
function cookieOf(session) {
  try {
    return session?.cookie;
  } catch {
    return undefined;
  }
}

/** Returns its argument from a constructor. */
function itself(object) {
  return object;
}

/**
 * Puts records into a private field of any object: invisible, as in a `WeakMap`, but at a fiftieth of its price
 * (10 ns instead of 580), which counts for what every `get` returns.
 */
class Stamp extends itself {
  #records;

  constructor(object, records) {
    super(object);
    this.#records = records;
  }

  static put(object, records) {
    if (#records in object) object.#records = records;
    else new Stamp(object, records);
  }

  static of(object) {
    return #records in object ? object.#records : undefined;
  }
}

/** Passes a record out of the function that an object carries; see {@link SessionRegistry}. */
let revealed;

function isObject(value) {
  return value !== null && typeof value === 'object';
}

/**
 * What this process knows of the sessions that it has loaded or saved, for as long as the session object itself
 * lives; so nothing piles up, a request that loaded a session is distinguished from one that created it, and each has
 * its own base to compare with.
 *
 * A session object carries a function under a symbol of this store, not enumerable, which reveals its records when it
 * is called. A Proxy, a membrane, an object derived from the session and a deep freeze all leave it working: nothing
 * but a function passes through it, and the records themselves are out of their reach. Objects that take no property,
 * and those that `get` returns, are known by identity.
 *
 * A record: `id` and `prefix`; `base`, the text that was loaded or last saved (only where conflicts are looked for), or
 * `UNKNOWN`; `unsure`, what saves that failed may have stored, and what they knew; `failure`, of the first save;
 * `ends`, when the stored session ends, and `since`, when it was alive, in ms since 1970 (0: not known); `since` is
 * undefined while the session is not known to be stored; `isReplaced`, once `regenerate` has put another session in
 * the place of this one; `other`, the record of the same object under another id.
 */
class SessionRegistry {
  #key = Symbol('connect-redis-native.session');
  #identities = new WeakMap();
  #handover;
  #prefix;
  #loads = new Loads();
  #destroyed = new Last();
  #keepsBases;

  /** @param keepsBases the texts that were loaded are kept, for saves that look for conflicts */
  constructor(keepsBases, prefix) {
    this.#keepsBases = keepsBases;
    this.#prefix = prefix;
  }

  /**
   * Begins to pass a session to a callback, which may do anything with it before it returns.
   *
   * @param keepsId a session may be created of a copy, without this store's `createSession`
   * @param isNested another callback of this kind may be running
   */
  hand(id, session, text, ends, keepsId, isNested) {
    const outer = isNested ? this.#handover : undefined;
    const load = keepsId && isObject(session) ? this.#loads.add(id) : undefined;
    const base = this.#keepsBases ? text : undefined;
    const handover = new Handover(this, id, session, cookieOf(session), load, base, ends, outer);
    this.#handover = handover;
    return handover;
  }

  /** The callback has run. */
  handed(handover) {
    this.#handover = handover.outer;
    handover.outer = undefined;
    const { session, text } = handover;
    if (handover.isTaken || !isObject(session)) return;
    // Not a slice of a larger string, which it would keep.
    if (text !== undefined) handover.text = ownCopy(text);
    this.#stamp(session, handover);
    const data = openIdData(session);
    if (data !== undefined) this.#stamp(data, handover);
    // A wrapper's own `createSession` has put a new cookie into it, which the live session has as well.
    const cookie = cookieOf(session);
    if (cookie !== handover.cookie && isObject(cookie)) this.#stamp(cookie, handover);
  }

  /** `get` has found nothing under an id. */
  noteMissing(id) {
    this.#loads.delete(id);
  }

  /**
   * Returns the record that the live session made of `loaded` begins with: `since` is undefined unless `get` returned
   * that for this id, or there is evidence that it stems from what `get` returned.
   *
   * @param carriesId returns true if the request presents the id
   * @param stringify makes the base of what is not the very object that `get` returned
   */
  take(id, loaded, carriesId, stringify) {
    const handover = this.#handover;
    if (handover?.id === id && (handover.session === loaded || !handover.isTaken)) {
      handover.isTaken = true;
      if (handover.load !== undefined) handover.load.isTaken = true;
      const record = this.#recordOf(handover);
      // Another object, made during the callback for that very id: a subclass has decrypted it, for example.
      if (handover.session !== loaded && this.#keepsBases) record.base = stringify(loaded);
      return record;
    }
    const record = this.recall(loaded, id);
    if (record !== undefined) return { ...record, other: undefined };
    const load = this.#loads.get(id);
    if (load === undefined || load.isTaken || load.isDestroyed || !carriesId())
      return this.#newRecord(id, undefined, 0, undefined);
    load.isTaken = true;
    return this.#newRecord(id, this.#keepsBases ? stringify(loaded) : undefined, 0, 0);
  }

  #recordOf({ id, text, ends }) {
    return this.#newRecord(id, this.#keepsBases ? ownCopy(text) : undefined, ends, 0);
  }

  #newRecord(id, base, ends, since) {
    const prefix = this.#prefix;
    return {
      id,
      prefix,
      base,
      unsure: undefined,
      failure: undefined,
      ends,
      since,
      isReplaced: false,
      other: undefined,
    };
  }

  /** The record of a session object, if it was loaded or saved under this id. */
  recall(session, id) {
    if (!isObject(session)) return undefined;
    const first = this.#records(session)?.first;
    if (first === undefined || this.#isOf(first, id)) return first;
    return first.other !== undefined && this.#isOf(first.other, id) ? first.other : undefined;
  }

  /** The record of a live session that a wrapper's own `createSession` has made of what `get` returned for this id. */
  recallByCookie(cookie, id) {
    const handover = this.#handover;
    const isInCallback = handover?.id === id && isObject(cookie) && cookieOf(handover.session) === cookie;
    return isInCallback ? this.#recordOf(handover) : this.recall(cookie, id);
  }

  #isOf(record, id) {
    return record.id === id && record.prefix === this.#prefix;
  }

  /**
   * Remembers a session object that was loaded, or that is about to be saved. One that is stored under another id
   * as well stays what it is: of the others, the last is remembered.
   */
  keep(session, id, base, ends, since) {
    return this.adopt(session, this.#newRecord(id, base, ends, since));
  }

  /** Gives a session object a record of its own. */
  adopt(session, record) {
    const records = this.#records(session);
    if (records === undefined) this.#put(session, record);
    else if (records.first === undefined || this.#isOf(records.first, record.id)) records.first = record;
    else records.first.other = record;
    return record;
  }

  /**
   * Remembers what `get` has returned, by identity alone: it is on its way to become a session. Its record is made when
   * someone asks for it.
   */
  #stamp(object, handover) {
    try {
      Stamp.put(object, handover);
    } catch {
      // Frozen, where that applies to private fields, too.
      this.#identities.set(object, this.#recordsOf(handover));
    }
  }

  #recordsOf(handover) {
    return { first: this.#recordOf(handover), registry: this };
  }

  #put(object, first) {
    const records = { first, registry: this };
    const reveal = () => {
      revealed = records;
    };
    try {
      if (Reflect.defineProperty(object, this.#key, { value: reveal, configurable: true })) return;
    } catch {
      // A Proxy of the app's that refuses.
    }
    this.#identities.set(object, records);
  }

  #records(object) {
    try {
      const reveal = object[this.#key];
      if (reveal !== undefined) {
        reveal();
        const records = revealed;
        revealed = undefined;
        if (records !== undefined) return records;
      }
    } catch {
      // As above.
    }
    const stamped = Stamp.of(object);
    if (stamped?.registry !== this) return this.#identities.get(object);
    if (!(stamped instanceof Handover)) return stamped;
    const records = this.#recordsOf(stamped);
    Stamp.put(object, records);
    return records;
  }

  forget(session, record) {
    const records = this.#records(session);
    if (records === undefined) return;
    if (records.first === record) records.first = undefined;
    else if (records.first?.other === record) records.first.other = undefined;
  }

  /** The last load of the session under an id by somebody who has not called `createSession`. */
  loadOf(id) {
    return this.#loads.get(id);
  }

  /** The session under an id is being destroyed by this process. */
  keepDestroyed(id) {
    this.#destroyed.keep(id);
    const load = this.#loads.get(id);
    if (load !== undefined) load.isDestroyed = true;
  }

  /** Dear, and seldom to be asked: of a session that was never saved and that its request has lost. */
  wasDestroyed(id) {
    return this.#destroyed.has(id);
  }
}

module.exports = { SessionRegistry, UNKNOWN };
