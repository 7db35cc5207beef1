'use strict';

/** @import { RedisClient } from '../../types.d.ts' */

/** Returns the key prefix of a client's settings, which its generic call may not add. @param {RedisClient} client */
function keyPrefixOf(client) {
  const options = client.options ?? client._options ?? {};
  const prefix = client._keyPrefix ?? options.keyPrefix ?? options.redisOptions?.keyPrefix;
  return typeof prefix === 'string' ? prefix : '';
}

/** The keys under one prefix: in Redis, they begin with the client's own prefix, which some clients add themselves. */
class Keys {
  #stored;
  #sent;

  /**
   * @param {string} clientPrefix the client's own prefix
   * @param {string} prefix
   * @param {boolean} isAdded true if the client adds its prefix to the keys of commands
   */
  constructor(clientPrefix, prefix, isAdded) {
    this.#stored = clientPrefix + prefix;
    this.#sent = isAdded ? prefix : this.#stored;
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

module.exports = { Keys, keyPrefixOf };
