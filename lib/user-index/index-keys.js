'use strict';

const { wrongType, wrongValue, outOfRange } = require('../common/errors.js');
const { sessionHash } = require('../observability/session-hash.js');

/** @import { IndexOptions, SessionObject, User } from '../types.d.ts' */

/** The name of the index by the `userId` option. */
const USER = 'user';

/** The key of the hash that stands for a user with `hashUserIds`. It must not change. */
const HASH_KEY = 'connect-redis-native.user';

/** The users of a session without any. @type {User[]} */
const NONE = [];

const USER_OR_NONE = 'a string, a number or, without a user, undefined';

/**
 * Checks and returns a user; undefined for none.
 *
 * @type {(user: any, what: string, expected?: string) => User}
 */
function checked(user, what, expected = USER_OR_NONE) {
  if (typeof user === 'string' || typeof user === 'bigint') return user;
  if (user === undefined || user === null) return undefined;
  if (typeof user !== 'number') throw wrongType(what, expected, user);
  if (!Number.isFinite(user)) throw outOfRange(what, 'a finite number', user);
  return user;
}

/** The keys of indexes. */
class IndexKeys {
  #rules;
  #prefix;
  #isHashed;

  /** @param {IndexOptions} options */
  constructor({ rules, prefix, hashUserIds }) {
    this.#rules = rules;
    this.#prefix = prefix;
    this.#isHashed = hashUserIds;
  }

  /** Rejects a prefix of sessions under which `ids` and `clear` would find indexes. @param {string} prefix */
  check(prefix) {
    if (!this.#prefix.startsWith(prefix) && !prefix.startsWith(this.#prefix)) return;
    throw wrongValue(
      'The "indexPrefix" option',
      'a string that neither begins with "prefix" nor starts it: the keys of indexes would count as sessions',
    );
  }

  /**
   * Returns the key of an index. The escaped user cannot contain the separator, so no user and prefix have the key of
   * others.
   *
   * @type {(name: string, user: NonNullable<User>, sessionPrefix: string) => string}
   */
  #key(name, user, sessionPrefix) {
    const text = this.#isHashed ? sessionHash(`${user}`, HASH_KEY) : `${user}`.replace(/[%@]/g, escaped);
    return `${this.#prefix}${name}:${text}@${sessionPrefix}`;
  }

  /** Returns true if a key is one of this index. @type {(name: string, key: string) => boolean} */
  isOf(name, key) {
    return key.startsWith(`${this.#prefix}${name}:`);
  }

  /**
   * Returns the users of a session, one for each index.
   *
   * @param {SessionObject} session
   */
  usersOf(session) {
    const rules = this.#rules;
    /** @type {User[] | undefined} */
    let users;
    for (let at = 0; at < rules.length; at++) {
      const rule = rules[at];
      const user = checked(rule.of(session), rule.what);
      if (user === undefined) continue;
      users ??= rules.map(() => undefined);
      users[at] = user;
    }
    return users ?? NONE;
  }

  /** Returns the user of a session in the index `user`. @param {SessionObject} session */
  userOf(session) {
    const rule = this.#rules.find(({ name }) => name === USER);
    if (rule === undefined)
      throw wrongValue('The "indexes" option', `an object with the index "${USER}"`, undefined);
    return checked(rule.of(session), rule.what);
  }

  /**
   * Returns the keys of the indexes of the users of a session.
   *
   * @type {(users: User[], sessionPrefix: string) => string[]}
   */
  ofUsers(users, sessionPrefix) {
    return users.flatMap((user, at) =>
      user === undefined ? [] : [this.#key(this.#rules[at].name, user, sessionPrefix)],
    );
  }

  /**
   * Returns the keys of the indexes to which a session belongs.
   *
   * @type {(session: SessionObject, sessionPrefix: string) => string[]}
   */
  of(session, sessionPrefix) {
    return this.ofUsers(this.usersOf(session), sessionPrefix);
  }

  /**
   * Returns the key of the index of a user, an argument of the app.
   *
   * @type {(name: unknown, user: unknown, sessionPrefix: string) => string}
   */
  ofUser(name, user, sessionPrefix) {
    const rule = this.#rules.find((one) => one.name === name);
    if (rule === undefined)
      throw wrongValue('The "index" option', `one of ${this.#rules.map((one) => one.name).join(', ')}`);
    const [what, expected] = ['The user', 'a string or a number'];
    const valid = checked(user, what, expected);
    if (valid === undefined) throw wrongType(what, expected, user);
    return this.#key(rule.name, valid, sessionPrefix);
  }
}

/** @param {string} character */
function escaped(character) {
  return character === '%' ? '%25' : '%40';
}

module.exports = { IndexKeys, USER };
