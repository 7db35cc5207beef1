'use strict';

/** The most prefixes that are kept: an app may have one for each of its tenants. */
const MOST_PREFIXES = 1000;

/** One value for each prefix that a store has had. Of too many, the one used longest ago is dropped. */
class PerPrefix {
  #create;
  #values = new Map();

  /** @param create makes the value for a prefix, which it is passed */
  constructor(create) {
    this.#create = create;
  }

  get(prefix) {
    const value = this.#values.get(prefix) ?? this.#create(prefix);
    this.#values.delete(prefix);
    this.#values.set(prefix, value);
    if (this.#values.size > MOST_PREFIXES) this.#values.delete(this.#values.keys().next().value);
    return value;
  }
}

module.exports = { PerPrefix };
