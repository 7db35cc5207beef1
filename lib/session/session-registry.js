'use strict';

const { tickTime } = require('../common/timers.js');
const { flatCopy } = require('./flat-copy.js');
const { carriesId, openIdData } = require('./frameworks.js');
const { RecentMap } = require('./recent-map.js');

/** @import { HttpRequest, SessionCookie, SessionObject, SessionRecord, Text } from '../types.d.ts' */

/** @typedef {{ at: number, isClaimed: boolean, isDestroyed: boolean }} Load */
/** @typedef {{ first: SessionRecord | undefined, registry: SessionRegistry }} Records */

/** The minimum number of ids that are kept: about a megabyte. */
const MIN_IDS = 8192;

/** The base of a session whose loaded text is not known: a save conflicts with any stored text but its own. */
const UNKNOWN_BASE = '';

/** The most recent ids. Adding one is cheap; a lookup searches all of them. */
class RecentIds {
  /** @type {string[]} */
  #ids = [];
  #at = 0;

  /** @param {string} id */
  add(id) {
    this.#ids[this.#at] = id;
    this.#at = (this.#at + 1) % MIN_IDS;
  }

  /** @param {string} id */
  has(id) {
    return this.#ids.includes(id);
  }
}

/** A session that is being passed to the callback of `get`. */
class Handover {
  isClaimed = false;

  /**
   * @param {SessionRegistry} registry
   * @param {string} id
   * @param {SessionObject} session
   * @param {SessionCookie | undefined} cookie the session's cookie before the callback
   * @param {Load | undefined} load of the id, if that is remembered
   * @param {string | undefined} text that was loaded, if bases are kept
   * @param {number} ends
   * @param {Handover | undefined} outer
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

/**
 * Returns the cookie of a session, which may be any value that an app's `parse` returned.
 *
 * @param {SessionObject} session
 */
function cookieOf(session) {
  try {
    return session?.cookie;
  } catch {
    return undefined;
  }
}

/** Returns its argument from a constructor. @param {object} object */
function itself(object) {
  return object;
}

/**
 * Stores records in a private field of any object: as invisible as with a `WeakMap`, at a fiftieth of its cost (10 ns
 * instead of 580), which matters for the result of every `get`.
 */
class Stamp extends /** @type {any} */ (itself) {
  /** @type {Records | Handover} */
  #records;

  /** @param {object} object @param {Records | Handover} records */
  constructor(object, records) {
    super(object);
    this.#records = records;
  }

  /** @param {object} object @param {Records | Handover} records */
  static put(object, records) {
    if (#records in object) object.#records = records;
    else new Stamp(object, records);
  }

  /** @param {object} object */
  static of(object) {
    return #records in object ? object.#records : undefined;
  }
}

/** Receives the records from the function that an object carries; see {@link SessionRegistry}. */
let revealed = /** @type {Records | undefined} */ (undefined);

/** @type {(value: unknown) => value is object} */
function isObject(value) {
  return value !== null && typeof value === 'object';
}

/**
 * Records what this process knows of the session objects that it has loaded or saved. A record lives as long as its
 * session object, so memory does not accumulate. It distinguishes a request that loaded a session from one that created
 * it, and holds the request's own base for comparison.
 *
 * A session object carries a function under a non-enumerable symbol of this store, which reveals the records when it is
 * called. It works through a Proxy, a membrane, an object derived from the session and a deep freeze: only a function
 * passes through them, and the records themselves are out of their reach. Objects that accept no property, and those
 * that `get` returns, are recognized by identity.
 */
class SessionRegistry {
  #key = Symbol('connect-redis-native.session');
  /** @type {WeakMap<object, Records>} */
  #identities = new WeakMap();
  /** @type {Handover | undefined} */
  #handover;
  #prefix;
  /** The ids for which `get` returned sessions most recently. @type {InstanceType<typeof RecentMap<Load>>} */
  #loads = new RecentMap(MIN_IDS);
  #destroyed = new RecentIds();
  #keepsBases;

  /** @param {boolean} keepsBases true to keep the loaded texts, for conditional saves @param {string} prefix */
  constructor(keepsBases, prefix) {
    this.#keepsBases = keepsBases;
    this.#prefix = prefix;
  }

  /**
   * Begins the call of a callback with a session, which the callback may use in any way.
   *
   * @param {string} id
   * @param {any} session
   * @param {string} text
   * @param {number} ends
   * @param {boolean} keepsId true if a session may be created from a copy, without this store's `createSession`
   * @param {boolean} isNested true if another callback of this kind may be running
   */
  beginHandover(id, session, text, ends, keepsId, isNested) {
    const outer = isNested ? this.#handover : undefined;
    const load = keepsId && isObject(session) ? this.#noteLoad(id) : undefined;
    const base = this.#keepsBases ? text : undefined;
    const handover = new Handover(this, id, session, cookieOf(session), load, base, ends, outer);
    this.#handover = handover;
    return handover;
  }

  /** Ends the call of the callback. @param {Handover} handover */
  endHandover(handover) {
    this.#handover = handover.outer;
    handover.outer = undefined;
    const { session, text } = handover;
    if (handover.isClaimed || !isObject(session)) return;
    // A copy, because a slice of a larger string would keep that alive.
    if (text !== undefined) handover.text = flatCopy(text);
    this.#stamp(session, handover);
    const data = openIdData(session);
    if (data !== undefined) this.#stamp(data, handover);
    // A wrapper's own `createSession` has given it a new cookie, which it shares with the live session.
    const cookie = cookieOf(session);
    if (cookie !== handover.cookie && isObject(cookie)) this.#stamp(cookie, handover);
  }

  /** @param {string} id */
  #noteLoad(id) {
    const load = { at: tickTime(), isClaimed: false, isDestroyed: false };
    this.#loads.set(id, load);
    return load;
  }

  /** Notes that `get` found nothing under an id. @param {string} id */
  noteMissing(id) {
    this.#loads.delete(id);
  }

  /**
   * Returns the first record of the live session that is created from `loaded`. Its `since` is undefined unless `get`
   * returned `loaded` for this id, or there is evidence that `loaded` stems from the result of `get`.
   *
   * @param {string} id
   * @param {SessionObject} loaded
   * @param {HttpRequest} request of the live session
   * @param {(session: SessionObject) => Text} stringify creates the base if `loaded` is not the object that `get`
   *   returned
   */
  claim(id, loaded, request, stringify) {
    const handover = this.#handover;
    if (handover?.id === id && (handover.session === loaded || !handover.isClaimed)) {
      handover.isClaimed = true;
      if (handover.load !== undefined) handover.load.isClaimed = true;
      const record = this.#recordOf(handover);
      // Another object, created during the callback for the same id: decrypted by a subclass, for example.
      if (handover.session !== loaded && this.#keepsBases) record.base = stringify(loaded);
      return record;
    }
    const record = this.find(loaded, id);
    if (record !== undefined) return { ...record, other: undefined };
    const load = this.#loads.get(id);
    if (load === undefined || load.isClaimed || load.isDestroyed || !carriesId(request, id))
      return this.#newRecord(id, undefined, 0, undefined);
    load.isClaimed = true;
    return this.#newRecord(id, this.#keepsBases ? stringify(loaded) : undefined, 0, 0);
  }

  /** @param {Handover} handover */
  #recordOf({ id, text, ends }) {
    return this.#newRecord(id, text === undefined ? undefined : flatCopy(text), ends, 0);
  }

  /** @type {(id: string, base: Text | undefined, ends: number, since: number | undefined) => SessionRecord} */
  #newRecord(id, base, ends, since) {
    const prefix = this.#prefix;
    return {
      id,
      prefix,
      base,
      unconfirmed: undefined,
      failure: undefined,
      ends,
      since,
      isReplaced: false,
      other: undefined,
    };
  }

  /**
   * Returns the record of a session object, if it was loaded or saved under this id.
   *
   * @type {(session: unknown, id: string) => SessionRecord | undefined}
   */
  find(session, id) {
    if (!isObject(session)) return undefined;
    const first = this.#records(session)?.first;
    if (first === undefined || this.#isOf(first, id)) return first;
    return first.other !== undefined && this.#isOf(first.other, id) ? first.other : undefined;
  }

  /**
   * Returns the record of a live session that a wrapper's own `createSession` has created from the result of `get`.
   *
   * @type {(cookie: SessionCookie | undefined, id: string) => SessionRecord | undefined}
   */
  findByCookie(cookie, id) {
    const handover = this.#handover;
    return handover?.id === id && isObject(cookie) && cookieOf(handover.session) === cookie
      ? this.#recordOf(handover)
      : this.find(cookie, id);
  }

  /** @param {SessionRecord} record @param {string} id */
  #isOf(record, id) {
    return record.id === id && record.prefix === this.#prefix;
  }

  /**
   * Adds a record for a session object that was loaded or is about to be saved. An object that already has a record
   * under another id keeps it; of the further ids, only the last has a record.
   *
   * @param {SessionObject} session
   * @param {string} id
   * @param {Text | undefined} base
   * @param {number} ends
   * @param {number | undefined} since
   */
  add(session, id, base, ends, since) {
    return this.attach(session, this.#newRecord(id, base, ends, since));
  }

  /** Attaches a record to a session object. @param {SessionObject} session @param {SessionRecord} record */
  attach(session, record) {
    const records = this.#records(session);
    if (records === undefined) this.#put(session, record);
    else if (records.first === undefined || this.#isOf(records.first, record.id)) records.first = record;
    else records.first.other = record;
    return record;
  }

  /**
   * Marks an object that `get` has returned, by identity alone: it may become a session. Its record is created on the
   * first lookup.
   *
   * @param {object} object
   * @param {Handover} handover
   */
  #stamp(object, handover) {
    try {
      Stamp.put(object, handover);
    } catch {
      // Engines in which a frozen object accepts no private field.
      this.#identities.set(object, this.#recordsOf(handover));
    }
  }

  /** @param {Handover} handover @returns {Records} */
  #recordsOf(handover) {
    return { first: this.#recordOf(handover), registry: this };
  }

  /** @param {object} object @param {SessionRecord} first */
  #put(object, first) {
    const records = { first, registry: this };
    const reveal = () => {
      revealed = records;
    };
    try {
      if (Reflect.defineProperty(object, this.#key, { value: reveal, configurable: true })) return;
    } catch {
      // An app's Proxy rejects the property.
    }
    this.#identities.set(object, records);
  }

  /** @param {any} object @returns {Records | undefined} */
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
      // An app's Proxy rejects the access.
    }
    const stamped = Stamp.of(object);
    if (stamped?.registry !== this) return this.#identities.get(object);
    if (!(stamped instanceof Handover)) return stamped;
    const records = this.#recordsOf(stamped);
    Stamp.put(object, records);
    return records;
  }

  /** @param {SessionObject} session @param {SessionRecord} record */
  remove(session, record) {
    const records = this.#records(session);
    if (records === undefined) return;
    if (records.first === record) records.first = undefined;
    else if (records.first?.other === record) records.first.other = undefined;
  }

  /**
   * Returns the last load of an id, by a caller of `get` other than express-session's middleware.
   *
   * @param {string} id
   */
  loadOf(id) {
    return this.#loads.get(id);
  }

  /** Marks the session under an id as destroyed by this process. @param {string} id */
  markDestroyed(id) {
    this.#destroyed.add(id);
    const load = this.#loads.get(id);
    if (load !== undefined) load.isDestroyed = true;
  }

  /**
   * Returns true if this process destroyed the session recently. Expensive; used only for sessions that were never
   * saved.
   *
   * @param {string} id
   */
  wasDestroyed(id) {
    return this.#destroyed.has(id);
  }
}

module.exports = { SessionRegistry, UNKNOWN_BASE };
