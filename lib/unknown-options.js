'use strict';

const { optionName, unknownOption, wrongValue } = require('./common/errors.js');

/** @import { Rules } from './options.js' */

/** @type {(list: string[], option: string) => Record<string, string>} */
const names = (list, option) => Object.fromEntries(list.map((name) => [name, option]));

/** Names that other libraries have for options, each with ours. @type {Record<string, string>} */
const FOREIGN = {
  ...names(['uri', 'redis', 'redisUrl', 'redisUri', 'connectionString', 'connection', 'redisOptions'], 'url'),
  ...names(['host', 'hostname', 'port', 'path', 'socket', 'family', 'server', 'address'], 'url'),
  ...names(['sentinels', 'sentinelName', 'masterName', 'sentinelRootNodes'], 'sentinel'),
  ...names(['nodes', 'rootNodes', 'clusterNodes', 'startupNodes', 'servers'], 'cluster'),
  ...names(['db', 'databaseId'], 'database'),
  ...names(['pass', 'auth', 'authPass', 'auth_pass'], 'password'),
  user: 'username',
  ...names(['keyPrefix', 'sessionPrefix', 'namespace'], 'prefix'),
  ...names(['redisClient', 'ioredis'], 'client'),
  ...names(['maxAge', 'expire', 'expires', 'expiration'], 'ttl'),
};
/** Options of express-session, which has the store among its options. */
const OF_SESSION = ['secret', 'cookie', 'genid', 'resave', 'rolling', 'saveUninitialized', 'store', 'unset'];

/** Options that a URL contains. */
const IN_URL = ['url', 'username', 'password', 'database'];
const URL_EXAMPLE = 'redis://user:password@host:6379/5 or redis+unix:///run/redis.sock?db=5';

/** A name that errors may show. Any other text may be an address with a password. */
const NAME = /^\w{1,40}$/;

/** The names of options that the app has been warned about. */
const warned = new Set();

/**
 * Rejects unknown options where the app probably means another one: the store would be elsewhere, or do something else,
 * than the app expects. Warns about the others. With a client, foreign names are ignored, as in connect-redis: it had
 * some of them once.
 *
 * @param {Record<string, any>} options
 * @param {Rules} rules the rules of all options
 */
function checkUnknown(options, rules) {
  const hasClient = options.client != null;
  for (const name of Object.keys(options)) {
    if (options[name] == null || Object.hasOwn(rules, name)) continue;
    const isForeign = Object.hasOwn(FOREIGN, name);
    const option = isForeign ? FOREIGN[name] : Object.keys(rules).find((known) => isSimilar(name, known));
    if (option !== undefined && !(isForeign && hasClient))
      throw unknownOption(name, describe(option, options));
    if (!hasClient && OF_SESSION.includes(name))
      throw wrongValue(
        'The argument of RedisStore',
        `the options of the store; "${name}" is one of session()`,
      );
    const isUseful = option !== undefined && !Object.hasOwn(rules.client.excludes ?? {}, option);
    warn(name, isUseful ? `; did you mean "${option}"?` : '');
  }
}

/**
 * Returns what to use in place of `option`: a URL contains some options, `sentinel` and `cluster` replace others.
 *
 * @param {string} option
 * @param {Record<string, any>} options
 */
function describe(option, options) {
  const place = ['sentinel', 'cluster'].find((other) => options[other] != null);
  if (place === undefined && IN_URL.includes(option)) return `"url", such as ${URL_EXAMPLE}`;
  return `"${option === 'url' ? place : option}"`;
}

/**
 * Returns true if `name` is `option` with a typing error, in another case or with separators.
 *
 * @param {string} name
 * @param {string} option
 */
function isSimilar(name, option) {
  const [one, other] = [name, option].map((text) => text.toLowerCase().replace(/[_-]/g, ''));
  if (Math.abs(one.length - other.length) > 2) return false;
  // A short name with another letter may be another word.
  return one[0] === other[0] && distance(one, other) <= (other.length < 6 ? 1 : 2);
}

/**
 * Returns how many letters are missing, added, replaced, or swapped with the next one.
 *
 * @param {string} one
 * @param {string} other
 */
function distance(one, other) {
  /** @type {number[]} */
  let before = [];
  let previous = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let at = 1; at <= one.length; at++) {
    const row = [at];
    for (let to = 1; to <= other.length; to++) {
      const replaced = previous[to - 1] + (one[at - 1] === other[to - 1] ? 0 : 1);
      row[to] = Math.min(previous[to] + 1, row[to - 1] + 1, replaced);
      if (at > 1 && to > 1 && one[at - 1] === other[to - 2] && one[at - 2] === other[to - 1])
        row[to] = Math.min(row[to], before[to - 2] + 1);
    }
    before = previous;
    previous = row;
  }
  return previous[other.length];
}

/** Warns, once per name, about an option that is ignored. @param {string} name @param {string} hint */
function warn(name, hint) {
  if (warned.has(name)) return;
  warned.add(name);
  const what = NAME.test(name) ? optionName(name) : 'An option';
  process.emitWarning(`${what} of RedisStore is unknown and ignored${hint}`, {
    code: 'REDIS_STORE_UNKNOWN_OPTION',
  });
}

module.exports = { URL_EXAMPLE, checkUnknown };
