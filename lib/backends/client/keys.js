'use strict';

const { isIoredis, isMock } = require('../../clients/ioredis.js');

/** @import { CommandForm, RedisClient } from '../../types.d.ts' */

/** The keys under one prefix: in Redis, they begin with the client's own prefix, which some clients add themselves. */
class Keys {
  #stored;
  #sent;

  /** @param {RedisClient} client @param {CommandForm} command @param {string} prefix */
  constructor(client, command, prefix) {
    const options = client.options ?? client._options ?? {};
    const clientPrefix = client._keyPrefix ?? options.keyPrefix ?? options.redisOptions?.keyPrefix;
    this.#stored = typeof clientPrefix === 'string' ? clientPrefix + prefix : prefix;
    const callsMethods = command === 'call(command, ...args)' || command === 'command(...args)';
    this.#sent = callsMethods && (isIoredis(client) || isMock(client)) ? prefix : this.#stored;
  }

  /** Returns the key of a session, for a command. @param {string} id */
  of(id) {
    return this.#sent + id;
  }

  /** Returns the glob pattern of keys whose ids match a glob. @param {string} ids */
  pattern(ids) {
    return this.#stored.replace(/[*?[\]\\]/g, '\\$&') + ids;
  }

  /** Returns true if a key from a scan is one of these. @param {string} key */
  has(key) {
    return key.startsWith(this.#stored);
  }

  /** Returns the id in a key from a scan. @param {string} key */
  id(key) {
    return key.slice(this.#stored.length);
  }

  /** Returns a key from a scan in the form for commands. @param {string} key */
  sent(key) {
    return this.#sent + this.id(key);
  }
}

module.exports = { Keys };
