'use strict';

/** @import { Backend as Runner } from '../types.d.ts' */

/** The prefix of the requests that are added to a backend. */
class Backend {
  prefix = '';

  /** @type {Runner['setPrefix']} */
  setPrefix(prefix) {
    this.prefix = prefix;
  }

  /** @type {Runner['withPrefix']} */
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
