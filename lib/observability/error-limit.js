'use strict';

const { elapsed } = require('../common/timers.js');

/** @import { RedisStoreError } from '../../index.js' */

/** The shortest time between two errors with the same code, in ms. */
const INTERVAL_MS = 10_000;

/** Limits the `error` events of repeated failed attempts to connect, per code. */
class ErrorLimit {
  /** When an error was last admitted, and the number left out since, by code. */
  #admitted = /** @type {Map<string, { at: number, suppressed: number }>} */ (new Map());

  /**
   * Returns true if an error is to be reported: the first one, and later ones after a pause. Those have the number left
   * out since the one before as `suppressed`.
   *
   * @param {RedisStoreError} error
   */
  admits(error, now = elapsed()) {
    const last = this.#admitted.get(error.code);
    if (last !== undefined && now - last.at < INTERVAL_MS) {
      last.suppressed++;
      return false;
    }
    if (last !== undefined && last.suppressed > 0) error.suppressed = last.suppressed;
    this.#admitted.set(error.code, { at: now, suppressed: 0 });
    return true;
  }

  /** Forgets all errors: the connection is ready. */
  reset() {
    this.#admitted.clear();
  }
}

module.exports = { ErrorLimit };
