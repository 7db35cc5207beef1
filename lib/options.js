'use strict';

const { optionName: name, outOfRange, wrongType, wrongValue } = require('./common/errors.js');
const { fromEnvironment } = require('./common/environment.js');
const { LARGEST_U32, LONGEST_DELAY_MS } = require('./common/limits.js');
const { checkTls } = require('./connection/tls.js');
const { checkFields } = require('./connection/topology.js');
const { LONGEST_SECONDS } = require('./session/lifetime.js');

/** @import { ResolveConflict, Serializer } from '../index.js' */
/** @import { SessionObject } from './types.d.ts' */

const DEFAULTS = { prefix: 'sess:', ttl: 86400, scanCount: 100 };
const CONFLICT_RULES = '"overwrite", "reject", "merge" or a function of three sessions that returns one';

/** The settings that `cache: true` selects. */
const CACHE = { maxBytes: 64 * 1024 * 1024, maxEntries: 1_000_000, maxStaleness: 2000 };

/**
 * Checks the options, each by the function of its name, and returns the values in force.
 *
 * @satisfies {Record<string, (value: any, second: any) => unknown>}
 */
const check = {
  prefix(value) {
    if (value == null) return DEFAULTS.prefix;
    if (typeof value !== 'string') throw wrongType(name('prefix'), 'a string', value);
    return value;
  },

  /** @returns {number | ((session: SessionObject) => number)} */
  ttl(given) {
    const value = /** @type {any} */ (fromEnvironment(given));
    // As in connect-redis, 0 selects the default.
    if (value == null || value === 0) return DEFAULTS.ttl;
    if (typeof value === 'function') return value;
    if (typeof value !== 'number')
      throw wrongType(name('ttl'), 'a number of seconds or a function that returns one', value);
    if (!(value > 0 && value <= LONGEST_SECONDS))
      throw outOfRange(
        name('ttl'),
        'a number of seconds above 0 (for sessions without a lifetime, set "disableTTL")',
        value,
      );
    return value;
  },

  scanCount: (value) => scanCount('scanCount', value) ?? DEFAULTS.scanCount,

  /** @returns {Serializer} */
  serializer(value) {
    if (value == null) return JSON;
    if (typeof value?.parse !== 'function' || typeof value?.stringify !== 'function')
      throw wrongType(name('serializer'), 'an object with the functions "parse" and "stringify"', value);
    return value;
  },

  connectTimeout: (value) => milliseconds('connectTimeout', value),
  commandTimeout: (value) => milliseconds('commandTimeout', value),

  maxQueue: (value) => whole('maxQueue', value, { least: 0, most: LARGEST_U32 }),

  cache(given) {
    const value = /** @type {any} */ (fromEnvironment(given));
    if (value == null || value === false) return undefined;
    if (value === true) return { ...CACHE };
    if (typeof value !== 'object')
      throw wrongType(name('cache'), 'true, false or an object of settings', value);
    checkFields('cache', value, Object.keys(CACHE));
    const { maxBytes, maxEntries, maxStaleness } = value;
    return {
      maxBytes:
        whole('cache.maxBytes', maxBytes, { unit: 'bytes', most: Number.MAX_SAFE_INTEGER }) ?? CACHE.maxBytes,
      maxEntries:
        whole('cache.maxEntries', maxEntries, { unit: 'sessions', most: LARGEST_U32 }) ?? CACHE.maxEntries,
      maxStaleness: milliseconds('cache.maxStaleness', maxStaleness) ?? CACHE.maxStaleness,
    };
  },

  /** @returns {'error' | 'sessionless'} */
  onUnavailable(value) {
    if (value == null) return 'error';
    if (value !== 'error' && value !== 'sessionless')
      throw wrongValue(name('onUnavailable'), "'error' or 'sessionless'", value);
    return value;
  },

  tls: (value) => checkTls('tls', fromEnvironment(value)),

  /** @returns {'primary' | 'replica-preferred'} */
  readFrom(value) {
    if (value == null) return 'primary';
    if (value !== 'primary' && value !== 'replica-preferred')
      throw wrongValue(name('readFrom'), "'primary' or 'replica-preferred'", value);
    return value;
  },

  /** @returns {'native' | 'client' | undefined} */
  transport(value) {
    if (value == null) return undefined;
    if (value !== 'native' && value !== 'client')
      throw wrongValue(name('transport'), "'native' or 'client'", value);
    return value;
  },

  /** @returns {(() => unknown) | undefined} */
  credentials(value) {
    if (value == null) return undefined;
    if (typeof value !== 'function')
      throw wrongType(name('credentials'), 'a function that gives { username, password }', value);
    return value;
  },

  /** @returns {'overwrite' | 'reject' | 'merge' | ResolveConflict} */
  onConflict(value) {
    if (value == null) return 'overwrite';
    if (typeof value !== 'string' && typeof value !== 'function')
      throw wrongType(name('onConflict'), CONFLICT_RULES, value);
    if (typeof value === 'string' && !['overwrite', 'reject', 'merge'].includes(value))
      throw wrongValue(name('onConflict'), CONFLICT_RULES, value);
    return value;
  },

  canMerge(onConflict, serializer) {
    if (onConflict === 'merge' && serializer !== JSON)
      throw wrongValue(
        name('onConflict'),
        '"reject" or a function beside a "serializer": only JSON can be merged',
        onConflict,
      );
  },

  touchAfter(given) {
    const value = fromEnvironment(given);
    if (value == null) return 0;
    if (typeof value !== 'number') throw wrongType(name('touchAfter'), 'a number of seconds', value);
    if (!(value >= 0 && value <= LONGEST_SECONDS))
      throw outOfRange(name('touchAfter'), 'a number of seconds from 0', value);
    return value;
  },

  saveDestroyed: (value) => flag('saveDestroyed', value),

  /** Checks the options of `scan`. */
  scan(options) {
    if (options === null || typeof options !== 'object')
      throw wrongType('The argument of scan', 'an object of options', options);
    const match = options.match ?? '*';
    const signal = options.signal ?? undefined;
    if (typeof match !== 'string') throw wrongType(name('match'), 'a string', match);
    if (signal !== undefined && !(signal instanceof AbortSignal))
      throw wrongType(name('signal'), 'an AbortSignal', signal);
    return { count: scanCount('count', options.count), match, signal };
  },

  disableTTL: (value) => flag('disableTTL', value),
  disableTouch: (value) => flag('disableTouch', value),
};

/**
 * @type {(option: string, given: unknown, bounds: { unit?: string, least?: number, most: number }) => number | undefined}
 */
function whole(option, given, { unit, least = 1, most }) {
  const value = fromEnvironment(given);
  if (value == null) return undefined;
  const expected = unit === undefined ? 'a whole number' : `a whole number of ${unit}`;
  if (typeof value !== 'number') throw wrongType(name(option), expected, value);
  if (!Number.isInteger(value) || value < least || value > most)
    throw outOfRange(name(option), `${expected} from ${least} to ${most}`, value);
  return value;
}

/** @param {string} option @param {unknown} value */
function milliseconds(option, value) {
  return whole(option, value, { unit: 'milliseconds', most: LONGEST_DELAY_MS });
}

/**
 * Returns undefined for the default, which 0 selects as in connect-redis.
 *
 * @param {string} option
 * @param {unknown} value
 */
function scanCount(option, value) {
  return fromEnvironment(value) === 0 ? undefined : whole(option, value, { most: LARGEST_U32 });
}

/** @param {string} option @param {unknown} given */
function flag(option, given) {
  const value = fromEnvironment(given) ?? false;
  if (typeof value !== 'boolean') throw wrongType(name(option), 'true or false', value);
  return value;
}

module.exports = { check };
