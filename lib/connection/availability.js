'use strict';

const { clearTimeout, setTimeout } = require('../common/timers.js');

/** @import { Timer } from '../types.d.ts' */

/** The time in ms without a connection after which requests run without sessions. */
const GRACE_MS = 1000;

/**
 * Notifies express-session, by the events `disconnect` and `connect`, when to run requests without sessions: after the
 * connection has been lost for a while, never for a single failed operation, and always followed by `connect`.
 */
class Availability {
  #emit;
  /** @type {Timer | undefined} */
  #timer;
  #isAway = false;

  /** @param {(event: 'connect' | 'disconnect') => void} emit */
  constructor(emit) {
    this.#emit = emit;
  }

  /** The connection was lost, or is not established yet. */
  lost() {
    if (this.#isAway || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#isAway = true;
      this.#emit('disconnect');
    }, GRACE_MS);
    this.#timer.unref();
  }

  /** The connection is ready. */
  ready() {
    this.stop();
    if (!this.#isAway) return;
    this.#isAway = false;
    this.#emit('connect');
  }

  /** Cancels a pending `disconnect`. */
  stop() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

module.exports = { Availability };
