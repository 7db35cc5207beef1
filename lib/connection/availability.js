'use strict';

const { clearTimeout, setTimeout } = require('../common/timers.js');

/** How long Redis may be away before requests go on without sessions, in ms. */
const GRACE_MS = 1000;

/**
 * Tells express-session, by its events `disconnect` and `connect`, when to run requests without sessions:
 * after the connection has been away for a while, never for a single failed operation, and always
 * with a `connect` to follow.
 */
class Availability {
  #emit;
  #timer;
  #isAway = false;

  constructor(emit) {
    this.#emit = emit;
  }

  /** The connection is not there. */
  lost() {
    if (this.#isAway || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#isAway = true;
      this.#emit('disconnect');
    }, GRACE_MS);
    this.#timer.unref();
  }

  /** The connection is there. */
  ready() {
    this.stop();
    if (!this.#isAway) return;
    this.#isAway = false;
    this.#emit('connect');
  }

  /** Nothing is to be told any more. */
  stop() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

module.exports = { Availability };
