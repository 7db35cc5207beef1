'use strict';

const { outOfRange, wrongType } = require('../common/errors.js');
const { USER } = require('./index-keys.js');

/** @import { CheckedOptions, IndexOptions, SessionFunction } from '../types.d.ts' */

/** Returns the options of a store's indexes; undefined without any. @param {CheckedOptions} options @returns {IndexOptions | undefined} */
function indexOptions(options) {
  const { userId, indexes, indexPrefix, hashUserIds, maxSessionsOf, onSessionLimit, authenticatedAt } =
    options;
  const rule = (
    /** @type {string} */ name,
    /** @type {string} */ option,
    /** @type {SessionFunction} */ of,
  ) => ({
    name,
    what: `What the "${option}" function returns`,
    of,
  });
  const rules = Object.entries(indexes ?? {}).map(([name, of]) => rule(name, `indexes.${name}`, of));
  if (userId !== undefined) rules.push(rule(USER, 'userId', userId));
  if (rules.length === 0) return undefined;
  return {
    rules,
    prefix: indexPrefix,
    hashUserIds,
    maxSessionsOf: maxSessionsOf === undefined ? undefined : limit(maxSessionsOf),
    onSessionLimit,
    authenticatedAt: authenticatedAt ?? ((session) => session.authenticatedAt),
  };
}

/** Returns a function that checks the limit for a session. @param {number | SessionFunction} most @returns {SessionFunction} */
function limit(most) {
  if (typeof most === 'number') return () => most;
  return (session) => {
    const value = most(session);
    const [what, expected] = ['What the "maxSessionsOf" function returns', 'a whole number above 0'];
    if (typeof value !== 'number') throw wrongType(what, expected, value);
    if (value === Number.POSITIVE_INFINITY) return 0;
    if (!Number.isInteger(value) || value < 1) throw outOfRange(what, expected, value);
    return value;
  };
}

module.exports = { indexOptions };
