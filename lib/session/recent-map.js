'use strict';

const { flatCopy } = require('./flat-copy.js');

/**
 * A map that drops the older half of its entries when there are many.
 *
 * @template Value
 */
class RecentMap {
  /** @type {Map<string, Value>} */
  #young = new Map();
  /** @type {Map<string, Value>} */
  #old = new Map();
  #minSize;

  /** @param {number} minSize the number of entries that are kept at least */
  constructor(minSize) {
    this.#minSize = minSize;
  }

  /** @param {string} key */
  get(key) {
    return this.#young.get(key) ?? this.#old.get(key);
  }

  /** @param {string} key @param {Value} value */
  set(key, value) {
    if (this.#young.has(key)) {
      this.#young.set(key, value);
      return;
    }
    // A copy, because an id that was sliced from a header would keep that alive.
    this.#young.set(flatCopy(key), value);
    if (this.#young.size >= this.#minSize) {
      this.#old = this.#young;
      this.#young = new Map();
    }
  }

  /** @param {string} key */
  delete(key) {
    this.#young.delete(key);
    this.#old.delete(key);
  }

  clear() {
    this.#young.clear();
    this.#old.clear();
  }
}

module.exports = { RecentMap };
