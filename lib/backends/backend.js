'use strict';

/** @import { Backend as Runner } from '../types.d.ts' */

/** The base of backends in JavaScript. Their interface is that of `Outbox`, the native backend. */
class Backend {
  prefix = '';

  /** Uses a prefix for the requests that follow. @param {string} prefix */
  setPrefix(prefix) {
    this.prefix = prefix;
  }

  /**
   * Calls `run` and returns its result. The requests that it adds use this prefix instead of the current one.
   *
   * @type {Runner['withPrefix']}
   */
  withPrefix(prefix, run) {
    const current = this.prefix;
    if (prefix === current) return run();
    this.setPrefix(prefix);
    const result = run();
    this.setPrefix(current);
    return result;
  }
}

module.exports = { Backend };
