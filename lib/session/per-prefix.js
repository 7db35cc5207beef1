'use strict';

/** The maximum number of prefixes that are kept: an app may have one per tenant. */
const MAX_PREFIXES = 1000;

/**
 * A value for each prefix that a store has used. Drops the least recently used one beyond the maximum.
 *
 * @template Value
 */
class PerPrefix {
  #create;
  /** @type {Map<string, Value>} */
  #values = new Map();

  /** @param {(prefix: string) => Value} create creates the value for a prefix */
  constructor(create) {
    this.#create = create;
  }

  /** @param {string} prefix */
  get(prefix) {
    const value = this.#values.get(prefix) ?? this.#create(prefix);
    this.#values.delete(prefix);
    this.#values.set(prefix, value);
    if (this.#values.size > MAX_PREFIXES)
      this.#values.delete(/** @type {string} */ (this.#values.keys().next().value));
    return value;
  }
}

module.exports = { PerPrefix };
