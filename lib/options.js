'use strict';

const errors = require('./common/errors.js');
const { fromEnvironment } = require('./common/env-vars.js');
const { LARGEST_U32, LONGEST_DELAY_MS, LONGEST_SECONDS } = require('./common/limits.js');
const { NOT_CARRIED } = require('./connection/tls.js');
const { REDIS_PORT, SENTINEL_PORT, natMap, nodes } = require('./connection/servers.js');
const { URL_EXAMPLE, checkUnknown } = require('./unknown-options.js');

const { optionName: name, outOfRange, wrongType, wrongValue } = errors;

/** @import { CheckedOptions, CheckedScanOptions } from './types.d.ts' */

/** @typedef {(value: any) => boolean} Test */
/** @typedef {Record<string, Rule>} Rules */

/**
 * The rule of an option, which checks its value.
 *
 * @typedef {object} Rule
 * @property {string} [expected] what the value must be, as errors say it
 * @property {Test} [isType] returns false for a value of a wrong type
 * @property {Test} [isValid] returns false for a wrong value of a right type
 * @property {unknown} [default] replaces null and undefined, and values for which `isDefault` returns true
 * @property {Test} [isDefault]
 * @property {boolean} [isRequired] there is no default
 * @property {boolean} [isConverted] the value may come from an environment variable, as `'3600'`, `'true'` or `''`
 * @property {boolean} [isSecret] errors show the type of the value alone
 * @property {Rules} [fields] the rules of the fields of an object; `true` stands for `{}`
 * @property {boolean} [isOpen] the object may have other fields
 * @property {(option: string, value: any) => unknown} [parse] checks and converts the value
 * @property {string} [unsupported] the reason why no value is accepted
 * @property {Record<string, string>} [excludes] the options of the same object that cannot be combined with this one,
 *   each with the reason
 * @property {string} [requires] the option of the same object that must be set with this one
 */

/** @type {(value: unknown) => value is string} */
const isString = (value) => typeof value === 'string';
/** @type {(value: unknown) => value is number} */
const isNumber = (value) => typeof value === 'number';
/** @type {Test} */
const isBoolean = (value) => typeof value === 'boolean';
/** @type {Test} */
const isFunction = (value) => typeof value === 'function';
/** @type {Test} */
const isObject = (value) => typeof value === 'object' && !Array.isArray(value);
/** @type {Test} */
const isZero = (value) => value === 0;

const flag = { expected: 'true or false', isType: isBoolean, default: false, isConverted: true };
/** @type {Rule} */
const text = { expected: 'a string that is not empty', isType: (value) => isString(value) && value !== '' };
const secret = { ...text, isSecret: true };
const user = { ...secret, requires: 'password' };
const func = (/** @type {string} */ expected) => ({ expected, isType: isFunction });
/** @type {(...words: string[]) => Rule} */
const oneOf = (...words) => ({
  expected: words.map((word) => `'${word}'`).join(' or '),
  isValid: (value) => words.includes(value),
});

/**
 * Numbers of seconds; `extra` is accepted in addition.
 *
 * @type {(expected: string, isValid: Test, extra?: Test) => Rule}
 */
function seconds(expected, isValid, extra = () => false) {
  return {
    expected,
    isType: (value) => isNumber(value) || extra(value),
    isValid: (value) => extra(value) || (isValid(value) && value <= LONGEST_SECONDS),
    isConverted: true,
  };
}

/**
 * Whole numbers up to `most`, of `unit`.
 *
 * @type {(most: number, rule?: Rule & { unit?: string, least?: number }) => Rule}
 */
function whole(most, { unit = '', least = 1, ...rest } = {}) {
  return {
    expected: `a whole number${unit && ` of ${unit}`} from ${least} to ${most}`,
    isType: isNumber,
    isValid: (value) => Number.isInteger(value) && value >= least && value <= most,
    isConverted: true,
    ...rest,
  };
}

/** A number of milliseconds that a timer can wait. @param {number} byDefault */
const milliseconds = (byDefault) => whole(LONGEST_DELAY_MS, { unit: 'milliseconds', default: byDefault });

/** @type {Rule} */
const pem = {
  expected: 'PEM, as a string or Buffer or an array of them',
  isType: (value) => [value].flat().every((part) => isString(part) || ArrayBuffer.isView(part)),
};

/** @type {Rule} */
const tls = {
  expected: 'true, false or an object of TLS settings',
  isType: (value) => isBoolean(value) || isObject(value),
  isConverted: true,
  isOpen: true,
  fields: {
    ca: pem,
    cert: pem,
    key: pem,
    servername: { expected: 'a string', isType: isString },
    rejectUnauthorized: { ...flag, default: undefined },
    ...Object.fromEntries(
      NOT_CARRIED.map((field) => [field, { unsupported: 'connections cannot be made with it' }]),
    ),
  },
};

/** @type {(port: number) => Rule} */
const addresses = (port) => ({
  expected: 'a list of addresses that is not empty',
  isType: (value) => Array.isArray(value) && value.length > 0,
  isRequired: true,
  parse: (option, value) => nodes(option, value, port),
});

const addressMap = {
  expected: 'an object from "host:port" to { host, port }',
  isType: isObject,
  parse: natMap,
};

const clusterAddresses = addresses(REDIS_PORT);
const clusterFields = { addresses: clusterAddresses, natMap: addressMap };

const sentinel = {
  expected: 'an object with "name" and "addresses"',
  isType: isObject,
  fields: {
    name: { ...secret, expected: 'the name that the sentinels have for the primary', isRequired: true },
    addresses: addresses(SENTINEL_PORT),
    username: user,
    password: secret,
    tls,
    natMap: addressMap,
  },
};

/** @type {Rule} */
const cluster = {
  expected: 'a list of addresses, or an object with "addresses"',
  isType: (value) => typeof value === 'object',
  parse: (option, value) =>
    Array.isArray(value)
      ? { addresses: check(option, value, clusterAddresses) }
      : checkObject(value, { fields: clusterFields }, option),
};

const IN_URL = `a URL contains it, such as ${URL_EXAMPLE}`;
const IN_CLIENT = 'the client has its own settings';
const TWO_ADDRESSES = 'each locates Redis';
const IN_CREDENTIALS = 'the function returns them';

/** @type {(options: string[], reason: string) => Record<string, string>} */
const reasons = (options, reason) => Object.fromEntries(options.map((option) => [option, reason]));
const ACCOUNT = ['username', 'password'];

/** The options of the constructor. @type {Rules} */
const OPTIONS = {
  // `describeClient` checks it.
  client: {
    excludes: reasons(
      ['url', 'sentinel', 'cluster', 'tls', 'credentials', ...ACCOUNT, 'database'],
      IN_CLIENT,
    ),
  },
  url: {
    expected: 'a URL such as redis://127.0.0.1:6379, as a string or a URL object',
    isType: (value) => isString(value) || value instanceof URL,
    isValid: (value) => value !== '',
    excludes: {
      ...reasons(['sentinel', 'cluster'], TWO_ADDRESSES),
      ...reasons([...ACCOUNT, 'database'], IN_URL),
    },
  },
  sentinel: { ...sentinel, excludes: { cluster: TWO_ADDRESSES } },
  cluster,
  username: user,
  password: secret,
  database: whole(LARGEST_U32, { least: 0, default: 0 }),
  tls,
  credentials: {
    ...func('a function that returns { username, password }'),
    excludes: reasons(ACCOUNT, IN_CREDENTIALS),
  },
  transport: oneOf('native', 'client'),
  readFrom: { ...oneOf('primary', 'replica-preferred'), default: 'primary' },

  connectTimeout: milliseconds(5000),
  commandTimeout: milliseconds(5000),
  maxQueue: whole(LARGEST_U32, { least: 0, default: 20_000 }),
  onUnavailable: { ...oneOf('error', 'sessionless'), default: 'error' },
  cache: {
    expected: 'true, false or an object of settings',
    isType: (value) => isBoolean(value) || isObject(value),
    isConverted: true,
    fields: {
      maxBytes: whole(Number.MAX_SAFE_INTEGER, { unit: 'bytes', default: 64 * 1024 * 1024 }),
      maxEntries: whole(LARGEST_U32, { unit: 'sessions', default: 1_000_000 }),
      maxStaleness: milliseconds(2000),
    },
  },

  prefix: { expected: 'a string', isType: isString, default: 'sess:' },
  ttl: {
    ...seconds(
      'a number of seconds above 0 (for sessions without a lifetime, set "disableTTL"), or a function that returns one',
      (value) => value > 0,
      isFunction,
    ),
    default: 86400,
    // As in connect-redis.
    isDefault: isZero,
  },
  scanCount: whole(LARGEST_U32, { default: 100, isDefault: isZero }),
  serializer: {
    expected: 'an object with the functions "parse" and "stringify"',
    isType: (value) => isFunction(value?.parse) && isFunction(value?.stringify),
    default: JSON,
  },
  disableTTL: flag,
  disableTouch: flag,
  touchAfter: { ...seconds('a number of seconds from 0', (value) => value >= 0), default: 0 },
  saveDestroyed: flag,
  onConflict: {
    expected: "'overwrite', 'reject', 'merge' or a function of three sessions that returns one",
    isType: (value) => isString(value) || isFunction(value),
    isValid: (value) => isFunction(value) || ['overwrite', 'reject', 'merge'].includes(value),
    default: 'overwrite',
  },
  sessionHashKey: secret,
  userId: {
    ...func('a function that returns the user of a session, or undefined'),
    excludes: reasons(['indexes'], 'name the index "user" there'),
  },
  indexes: {
    expected: 'an object of functions that return the user of a session, or undefined',
    isType: (value) => isObject(value) && Object.values(value).every(isFunction),
    isValid: (value) => Object.keys(value).length > 0 && Object.keys(value).every((key) => /^\w+$/.test(key)),
  },
  indexPrefix: { ...text, default: 'sess-of:' },
  hashUserIds: flag,
  maxSessionsOf: {
    expected: 'a whole number above 0, or a function that returns one',
    isType: (value) => isNumber(value) || isFunction(value),
    isValid: (value) => isFunction(value) || (Number.isInteger(value) && value > 0),
    isConverted: true,
  },
  onSessionLimit: { ...oneOf('destroy-oldest', 'reject'), requires: 'maxSessionsOf' },
  authenticatedAt: func('a function that returns the time at which the user of a session has authenticated'),
};

/** The options of `scan`. @type {Rules} */
const SCAN_OPTIONS = {
  match: { expected: 'a string', isType: isString, default: '*' },
  count: { ...OPTIONS.scanCount, default: undefined },
  signal: { expected: 'an AbortSignal', isType: (value) => value instanceof AbortSignal },
};

/**
 * Checks the value of an option, and returns the one to use: converted, or the default.
 *
 * @param {string} option
 * @param {unknown} given
 * @param {Rule} rule by default, that of the constructor's option
 * @returns {any}
 * @throws {TypeError | RangeError}
 */
function check(option, given, rule = OPTIONS[option]) {
  const { expected = '' } = rule;
  const value = rule.isConverted ? fromEnvironment(given) : given;
  // Boxed, so that the error shows its type alone: a number may be a password.
  const shown = rule.isSecret && value != null ? Object(value) : value;
  if (value == null && rule.isRequired) throw wrongType(name(option), expected, shown);
  if (value == null || rule.isDefault?.(value)) return rule.default;
  if (rule.unsupported !== undefined) throw errors.unsupported(option, rule.unsupported);
  if (rule.isType?.(value) === false) throw wrongType(name(option), expected, shown);
  if (rule.isValid?.(value) === false)
    throw (rule.isType && isNumber(value) ? outOfRange : wrongValue)(name(option), expected, shown);
  if (rule.parse !== undefined) return rule.parse(option, value);
  if (rule.fields === undefined || value === false) return value;
  return checkObject(value === true ? {} : value, rule, option);
}

/**
 * Checks an object of options, and returns the values to use. `option` is its own name, if it is an option itself.
 *
 * @type {(object: any, rule: Rule, option?: string) => any}
 */
function checkObject(object, { fields = {}, isOpen }, option) {
  const path = option === undefined ? '' : `${option}.`;
  if (!isOpen && option !== undefined) checkNames(object, fields, option);
  /** @type {Record<string, unknown>} */
  const checked = {};
  for (const [field, rule] of Object.entries(fields))
    checked[field] = check(path + field, object[field], rule);
  for (const [field, { requires }] of Object.entries(fields))
    if (requires !== undefined && checked[field] !== undefined && checked[requires] === undefined)
      throw wrongValue(name(path + requires), `set along with "${path}${field}"`);
  return checked;
}

/**
 * Rejects unknown fields of the object `option`, which would be ignored.
 *
 * @type {(object: any, fields: Rules, option: string) => void}
 */
function checkNames(object, fields, option) {
  const unknown = Object.keys(object).find((field) => !Object.hasOwn(fields, field) && object[field] != null);
  if (unknown !== undefined) throw errors.unknownField(option, unknown, Object.keys(fields));
}

/** Rejects options that cannot be combined. @param {any} options @param {Rules} rules */
function checkCombinations(options, rules) {
  const isGiven = (/** @type {string} */ option) => options[option] != null;
  for (const [option, { excludes = {} }] of Object.entries(rules)) {
    if (!isGiven(option)) continue;
    const excluded = Object.keys(excludes).find(isGiven);
    if (excluded !== undefined) throw errors.cannotCombine(option, excluded, excludes[excluded]);
  }
}

/** Options that belong to `sentinel` and `cluster`. */
const WITH_SERVERS = ['username', 'password', 'database'];

/** Rejects options that locate Redis or authenticate, but would be ignored. @param {any} options */
function checkPlace(options) {
  const isGiven = (/** @type {string} */ option) => options[option] != null;
  const place = ['client', 'url', 'sentinel', 'cluster'].find(isGiven);
  if (place !== undefined) return;
  // An import that failed, not a choice: the store would be on localhost.
  if ('client' in options)
    throw wrongType(
      name('client'),
      'a client (is it exported, and imported before it is used?), or absent',
      options.client,
    );
  const ignored = WITH_SERVERS.find(isGiven);
  if (ignored !== undefined)
    throw wrongValue(name(ignored), `part of the "url" option, such as ${URL_EXAMPLE}`);
}

const ONE_YEAR = 365 * 24 * 60 * 60;

/** Warns of a lifetime that is probably in milliseconds. @param {CheckedOptions} options */
function checkTtl({ ttl }) {
  if (typeof ttl === 'number' && ttl > ONE_YEAR)
    process.emitWarning(
      `${name('ttl')} of RedisStore is in seconds: ${ttl} are ${Math.round(ttl / ONE_YEAR)} years`,
      {
        code: 'REDIS_STORE_LONG_TTL',
      },
    );
}

/** The methods by which clients run any command. */
const COMMAND_CALLS = ['sendCommand', 'call', 'customCommand'];

/**
 * Checks the options of the constructor, and returns the values to use.
 *
 * @param {any} options
 * @returns {CheckedOptions}
 */
function checkOptions(options) {
  // A client in place of the options would result in a store on localhost:6379.
  if (
    options === null ||
    typeof options !== 'object' ||
    COMMAND_CALLS.some((call) => isFunction(options[call]))
  )
    throw wrongType('The argument of RedisStore', 'an object of options, such as { client }', options);
  checkUnknown(options, OPTIONS);
  checkCombinations(options, OPTIONS);
  checkPlace(options);
  const checked = checkObject(options, { fields: OPTIONS, isOpen: true });
  checkMerge(checked);
  checkIndexes(checked);
  checkTtl(checked);
  return checked;
}

/** Rejects options that need an index without one. @param {CheckedOptions} options */
function checkIndexes({ userId, indexes, maxSessionsOf, authenticatedAt }) {
  const hasUsers = userId !== undefined || indexes?.user !== undefined;
  const required = 'set along with "userId"';
  if (maxSessionsOf !== undefined && !hasUsers) throw wrongValue(name('maxSessionsOf'), required);
  if (authenticatedAt !== undefined && userId === undefined && indexes === undefined)
    throw wrongValue(name('authenticatedAt'), required);
}

/** @param {Pick<CheckedOptions, 'onConflict' | 'serializer'>} options */
function checkMerge({ onConflict, serializer }) {
  if (onConflict === 'merge' && serializer !== JSON)
    throw errors.cannotCombine(
      'onConflict',
      'serializer',
      "'merge' needs JSON; others are 'reject' and a function",
    );
}

/** Checks the `signal` of an operation's options. @param {any} options @returns {AbortSignal | undefined} */
function checkSignal({ signal }) {
  return check('signal', signal, SCAN_OPTIONS.signal);
}

/** Checks the options of `scan`, and returns the values to use. @param {any} options @returns {CheckedScanOptions} */
function checkScanOptions(options) {
  if (options === null || typeof options !== 'object')
    throw wrongType('The argument of scan', 'an object of options', options);
  return checkObject(options, { fields: SCAN_OPTIONS, isOpen: true });
}

module.exports = { OPTIONS, check, checkMerge, checkOptions, checkScanOptions, checkSignal };
