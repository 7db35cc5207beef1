'use strict';

const { createHash } = require('node:crypto');
const { Operation } = require('../boundary/outbox.js');
const { Kind, Request } = require('../boundary/request.js');
const { outOfRange, wrongType } = require('../common/errors.js');
const { elapsed } = require('../common/timers.js');
const { announce, announceOf } = require('../observability/session-events.js');
const { NEVER, setExpires } = require('./expiry.js');
const { RecentMap } = require('./recent-map.js');
const { stringify } = require('./stringify.js');

/** @import { Serializer } from '../../index.js' */
/** @import { Request as Scope } from '../types.d.ts' */
/** @import { Backend, CheckedOptions, SessionObject, Settings, Text } from '../types.d.ts' */

/**
 * The facts known about a session's creation.
 *
 * @typedef {object} Birth
 * @property {number} createdAt in ms since 1970, as stored
 * @property {number} at when it was created at the latest, by the monotonic clock
 * @property {number} lifetime the result of `maxLifetime`, in ms
 * @property {boolean} isStored the stored session contains `createdAt`
 * @property {boolean} isEndAnnounced
 * @property {string | undefined} ended the digest of the text that is over
 */
/** @typedef {'idleTimeout' | 'maxLifetime'} Limit */

/** The minimum number of sessions that are remembered: about 10 MB. */
const MIN_SESSIONS = 65_536;
/** The tolerated difference between the clocks of two processes, in ms. A creation time later than that is replaced. */
const CLOCK_TOLERANCE = 1000;
/** The tolerated time in ms by which the end of a key seems to be beyond the deadline, since replies take time. */
const REPLY_TOLERANCE = 100;
/** The time in ms by which a key may end earlier in Redis than here. */
const END_TOLERANCE = 1000;

/** @param {any} value */
const isTime = (value) => Number.isFinite(value) && value > 0;

/** @param {string} text */
const digest = (text) => createHash('sha256').update(text).digest('base64url');

/**
 * Returns a limit for a session, in ms; Infinity for none.
 *
 * @param {Limit} option
 * @param {number | ((session: any) => number) | undefined} rule
 * @param {SessionObject} session
 * @throws the exception of the app's function; a TypeError or RangeError if its result is invalid
 */
function limitOf(option, rule, session) {
  if (rule === undefined) return Number.POSITIVE_INFINITY;
  if (typeof rule === 'number') return rule * 1000;
  const seconds = rule(session);
  const [what, expected] = [
    `What the "${option}" function returns`,
    'a number of seconds above 0, or Infinity',
  ];
  if (typeof seconds !== 'number') throw wrongType(what, expected, seconds);
  if (!(seconds > 0)) throw outOfRange(what, expected, seconds);
  return seconds * 1000;
}

/**
 * Moves the expiry of a session's cookie to the deadline, unless it is earlier.
 *
 * @param {SessionObject} session
 * @param {number} remaining ms until the deadline
 */
function capCookie(session, remaining) {
  const cookie = session?.cookie;
  if (remaining === Number.POSITIVE_INFINITY || cookie === null || typeof cookie !== 'object') return;
  if (!cookie.expires) return;
  const latest = Math.floor(Date.now() + remaining);
  if (new Date(cookie.expires).getTime() > latest) setExpires(cookie, latest);
}

/** A compare-and-set whose result no operation waits for. The next read repeats what it failed to do. */
class Correction extends Request {
  /** @param {Settings} store */
  constructor(store) {
    super(store, () => {}, undefined);
  }

  /** @param {number} kind */
  complete(kind) {
    // The addon counts it as a save.
    if (kind !== Kind.CONFLICT) this.store.stats.unsent.set--;
  }
}

/**
 * The options `idleTimeout` and `maxLifetime` of a store.
 *
 * The creation time is part of the stored session, so that it is known to all processes. In addition, this class
 * remembers when this process first saw a session, by the monotonic clock: a clock that is set back prolongs no session
 * that the process knows. The memory is per session rather than one correction of the clock, since a clock that was
 * wrong for a moment would affect all sessions until the process ends.
 */
class Lifetimes {
  /** @type {InstanceType<typeof RecentMap<Birth>>} */
  #births = new RecentMap(MIN_SESSIONS);

  /** @param {CheckedOptions} options @param {Backend} outbox */
  constructor({ idleTimeout, maxLifetime, createdAtKey }, outbox) {
    this.idleTimeout = idleTimeout;
    this.maxLifetime = maxLifetime;
    this.createdAtKey = createdAtKey;
    this.usesFunctions = typeof maxLifetime === 'function';
    this.outbox = outbox;
  }

  /** @param {string} key @param {number} createdAt @param {boolean} isStored */
  #add(key, createdAt, isStored) {
    const age = Math.max(0, Date.now() - createdAt);
    /** @type {Birth} */
    const birth = {
      createdAt,
      at: elapsed() - age,
      lifetime: Number.POSITIVE_INFINITY,
      isStored,
      isEndAnnounced: false,
      ended: undefined,
    };
    this.#births.set(key, birth);
    return birth;
  }

  /**
   * Returns the birth of a stored session. The creation time of a session that has none, or one in the future, is when
   * this process saw it first. After the end of such a session, another text is a new session under its id.
   *
   * @type {(settings: Settings, id: string, stored: SessionObject, text: string) => Birth}
   */
  #birthOfStored({ prefix }, id, stored, text) {
    const key = prefix + id;
    const known = this.#births.get(key);
    const createdAt = stored?.[this.createdAtKey];
    const now = Date.now();
    const isSame = known?.createdAt === createdAt;
    if (!isSame && isTime(createdAt) && createdAt <= now + CLOCK_TOLERANCE)
      return this.#add(key, createdAt, true);
    const isNew = !isTime(createdAt) && known?.ended !== undefined && known.ended !== digest(text);
    if (known === undefined || isNew) return this.#add(key, now, false);
    known.isStored = isSame;
    // Counts as recent again.
    this.#births.set(key, known);
    return known;
  }

  /**
   * Returns the birth of a session to save. For a session that this process has loaded or created (`isKnown`), what the
   * app has done to its creation time does not count. Any other object without one is a new session.
   *
   * @type {(settings: Settings, id: string, session: SessionObject, isKnown: boolean) => Birth}
   */
  #birthOfSaved({ prefix }, id, session, isKnown) {
    const key = prefix + id;
    const known = this.#births.get(key);
    const createdAt = session[this.createdAtKey];
    if (known !== undefined && (isKnown || known.createdAt === createdAt)) return known;
    const now = Date.now();
    return this.#add(key, isTime(createdAt) && createdAt <= now ? createdAt : now, false);
  }

  /** Returns the ms until the deadline of a session, less than 1 if it is over. @param {Birth} birth @param {SessionObject} session */
  #remaining(birth, session) {
    birth.lifetime = limitOf('maxLifetime', this.maxLifetime, session);
    return this.#left(birth);
  }

  /** @param {Pick<Birth, 'createdAt' | 'at' | 'lifetime'>} birth */
  #left({ createdAt, at, lifetime }) {
    return lifetime - Math.max(Date.now() - createdAt, elapsed() - at);
  }

  /**
   * Begins the lifetime of a new session of express-session.
   *
   * @type {(settings: Settings, id: string, session: SessionObject) => void}
   */
  begin(settings, id, session) {
    if (this.maxLifetime === undefined) return;
    session[this.createdAtKey] = this.#add(settings.prefix + id, Date.now(), false).createdAt;
    this.attach(settings, id, session);
  }

  /**
   * Caps the cookie of a live session of express-session whenever its lifetime starts again: the cookie that the browser
   * receives then ends with the session.
   *
   * @type {(settings: Settings, id: string, session: SessionObject) => void}
   */
  attach(settings, id, session) {
    if (this.maxLifetime === undefined) return;
    const { resetMaxAge } = session;
    const value = () => {
      Reflect.apply(resetMaxAge, session, []);
      const birth = this.#births.get(settings.prefix + id);
      if (birth === undefined) return session;
      try {
        capCookie(session, this.#remaining(birth, session));
      } catch {
        // The app's function threw, which the save or touch that follows reports.
      }
      return session;
    };
    Object.defineProperty(session, 'resetMaxAge', { value, configurable: true, writable: true });
    value();
  }

  /**
   * Returns false for a session that was read and is over: it is deleted. Otherwise caps its cookie, and the lifetime of
   * its key if another process has prolonged that.
   *
   * @type {(store: Settings, id: string, session: any, text: string, ends: number, scope?: Scope) => boolean}
   * @throws the exception of the app's function
   */
  admit(store, id, session, text, ends, scope) {
    if (this.maxLifetime === undefined || session === null || typeof session !== 'object') return true;
    const birth = this.#birthOfStored(store, id, session, text);
    const remaining = this.#remaining(birth, session);
    if (remaining < 1) {
      birth.ended ??= digest(text);
      this.end(store, id, text, 'get', scope);
      return false;
    }
    capCookie(session, remaining);
    const isTooLong = ends > 0 && (ends === NEVER || ends - Date.now() > remaining + REPLY_TOLERANCE);
    // A session without a stored creation time is changed by a save or a touch only.
    if (isTooLong && birth.isStored && remaining !== Number.POSITIVE_INFINITY)
      this.#correct(store, id, text, Math.floor(remaining));
    return true;
  }

  /**
   * Deletes a session that is over, unless another one was stored in its place, and announces its end.
   *
   * @type {(store: Settings, id: string, text: Text, operation: string, scope?: Scope) => void}
   */
  end(store, id, text, operation, scope) {
    // A lifetime of 1 ms deletes the key in the same step that compares its value.
    this.#correct(store, id, text, 1);
    this.announceEnd(store, id, operation, scope);
  }

  /** Announces once that a session is over. @type {(store: Settings, id: string, operation: string, scope?: Scope) => void} */
  announceEnd(store, id, operation, scope) {
    store.knownEnds.forget(store, id);
    const birth = this.#births.get(store.prefix + id);
    if (birth?.isEndAnnounced) return;
    if (birth !== undefined) birth.isEndAnnounced = true;
    const details = { reason: 'absolute' };
    if (scope === undefined) announce(store, 'expired', operation, id, details);
    else announceOf(scope, 'expired', operation, id, details);
  }

  /** @type {(store: Settings, id: string, text: Text, ttl: number) => void} */
  #correct(store, id, text, ttl) {
    const { outbox } = this;
    outbox.withPrefix(store.prefix, () =>
      outbox.add(Operation.SET_IF_EQUAL, new Correction(store), id, text, ttl, text),
    );
  }

  /**
   * Returns false for a session of a scan that is over; otherwise caps its cookie.
   *
   * @type {(store: Settings, id: string, session: SessionObject) => boolean}
   */
  isAlive(store, id, session) {
    const remaining = this.remainingOf(store, id, session);
    if (remaining < 1) return false;
    capCookie(session, remaining);
    return true;
  }

  /**
   * Returns the ms until the deadline of a stored session, without remembering it; Infinity if it has none.
   *
   * @type {(store: Settings, id: string, session: SessionObject) => number}
   */
  remainingOf({ prefix }, id, session) {
    const createdAt = session[this.createdAtKey];
    if (this.maxLifetime === undefined || !isTime(createdAt)) return Number.POSITIVE_INFINITY;
    const lifetime = limitOf('maxLifetime', this.maxLifetime, session);
    const known = this.#births.get(prefix + id);
    const at = known !== undefined && known.createdAt === createdAt ? known.at : Number.POSITIVE_INFINITY;
    return this.#left({ createdAt, at, lifetime });
  }

  /**
   * Returns the lifetime of a session in ms as `idleTimeout` limits it. `ttl` is that of the other options.
   *
   * @type {(settings: Settings, session: SessionObject, ttl: number) => number}
   */
  idle(settings, session, ttl) {
    const idle = Math.ceil(limitOf('idleTimeout', this.idleTimeout, session));
    if (settings.disableTTL) return idle;
    // In the place of a `ttl` that is a number.
    const isDefault = typeof settings.ttl !== 'function' && !session.cookie?.expires;
    return isDefault && idle !== Number.POSITIVE_INFINITY ? idle : Math.min(ttl, idle);
  }

  /**
   * Returns the lifetime of a session to save, in ms, less than 1 if it is over; and its deadline, by the monotonic
   * clock, and creation time.
   *
   * @type {(settings: Settings, id: string, session: SessionObject, ttl: number, isKnown: boolean) =>
   *   { ttl: number, endsBy: number, createdAt: number | undefined }}
   */
  save(settings, id, session, ttl, isKnown) {
    const most = this.idle(settings, session, ttl);
    if (this.maxLifetime === undefined)
      return { ttl: most, endsBy: Number.POSITIVE_INFINITY, createdAt: undefined };
    const birth = this.#birthOfSaved(settings, id, session, isKnown);
    birth.isStored = true;
    const limited = this.#cap(birth, session, most);
    return { ttl: limited, endsBy: elapsed() + this.#left(birth), createdAt: birth.createdAt };
  }

  /** Returns a lifetime that ends before the deadline. @type {(birth: Birth, session: SessionObject, ttl: number) => number} */
  #cap(birth, session, ttl) {
    const remaining = this.#remaining(birth, session);
    if (remaining >= 1) capCookie(session, remaining);
    return Math.min(ttl, Math.floor(remaining));
  }

  /**
   * Returns the lifetime of a session to touch, in ms, less than 1 if it is over; undefined if its creation time is not
   * known to be stored.
   *
   * @type {(settings: Settings, id: string, session: SessionObject, ttl: number) => number | undefined}
   */
  touch(settings, id, session, ttl) {
    if (this.maxLifetime === undefined) return ttl;
    const birth = this.#births.get(settings.prefix + id);
    return birth?.isStored ? this.#cap(birth, session, ttl) : undefined;
  }

  /**
   * Returns the ms until the deadline of a session that was just saved or touched; Infinity if it has none, or it is not
   * known.
   *
   * @type {(settings: Settings, id: string) => number}
   */
  leftOf({ prefix }, id) {
    const birth = this.maxLifetime === undefined ? undefined : this.#births.get(prefix + id);
    return birth === undefined ? Number.POSITIVE_INFINITY : this.#left(birth);
  }

  /** Returns true if the creation time of a session is known to be stored. @type {(settings: Settings, id: string) => boolean} */
  isStored({ prefix }, id) {
    return this.maxLifetime === undefined || this.#births.get(prefix + id)?.isStored === true;
  }

  /**
   * Returns what a touch stores of a session that was read: its text with the creation time, and the lifetime, less
   * than 1 if the session is over; undefined if the creation time cannot be added.
   *
   * @type {(settings: Settings, id: string, stored: any, text: string, ttl: number) =>
   *   { text: Text, ttl: number, confirm: () => void } | undefined}
   */
  fix(settings, id, stored, text, ttl) {
    if (stored === null || typeof stored !== 'object' || Array.isArray(stored)) return undefined;
    const birth = this.#birthOfStored(settings, id, stored, text);
    const limited = Math.min(ttl, Math.floor(this.#remaining(birth, stored)));
    const confirm = () => {
      birth.isStored = true;
    };
    const isFixed = birth.isStored;
    return { text: isFixed ? text : this.#added(settings, stored, text, birth), ttl: limited, confirm };
  }

  /**
   * Adds the creation time to the text of a stored session. JSON is not written again, which would change numbers and
   * keys that JavaScript cannot represent; of duplicate keys, the last one counts.
   *
   * @type {(settings: Settings, stored: SessionObject, text: string, birth: Birth) => Text}
   */
  #added({ serializer }, stored, text, { createdAt }) {
    if (serializer !== JSON) return this.stringify(serializer, stored, createdAt);
    const end = text.lastIndexOf('}');
    const separator = Object.keys(stored).length === 0 ? '' : ',';
    return `${text.slice(0, end)}${separator}${JSON.stringify(this.createdAtKey)}:${createdAt}}`;
  }

  /**
   * Returns the text of a session with its creation time, which the app's object has only for the time of this call.
   *
   * @type {(serializer: Serializer, session: SessionObject, createdAt: number) => Text}
   */
  stringify(serializer, session, createdAt) {
    const key = this.createdAtKey;
    const own = Object.getOwnPropertyDescriptor(session, key);
    if (own?.value === createdAt && own.enumerable) return stringify(serializer, session);
    const property = { value: createdAt, enumerable: true, configurable: true, writable: true };
    if (!Reflect.defineProperty(session, key, property)) {
      // A frozen object.
      const properties = { ...Object.getOwnPropertyDescriptors(session), [key]: property };
      return stringify(serializer, Object.create(Object.getPrototypeOf(session), properties));
    }
    try {
      return stringify(serializer, session);
    } finally {
      if (own === undefined) Reflect.deleteProperty(session, key);
      else Reflect.defineProperty(session, key, own);
    }
  }

  /** @param {Settings} settings @param {string} id */
  forget({ prefix }, id) {
    this.#births.delete(prefix + id);
  }

  forgetAll() {
    this.#births.clear();
  }

  /**
   * Forgets a session that is gone. Returns true if its deadline has passed, and that was not announced.
   *
   * @param {Settings} settings
   * @param {string} id
   */
  takeOver({ prefix }, id) {
    const birth = this.#births.get(prefix + id);
    this.#births.delete(prefix + id);
    return birth !== undefined && !birth.isEndAnnounced && this.#left(birth) <= END_TOLERANCE;
  }
}

/** Returns the lifetimes of a store, undefined without these options. @param {CheckedOptions} options @param {Backend} outbox */
function lifetimesOf(options, outbox) {
  const isLimited = options.idleTimeout !== undefined || options.maxLifetime !== undefined;
  return isLimited ? new Lifetimes(options, outbox) : undefined;
}

module.exports = { Lifetimes, lifetimesOf };
