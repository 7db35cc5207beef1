'use strict';

/** The base of backends in JavaScript. Their interface is that of `Outbox`, the native backend. */
class Backend {
  prefix;

  /** Calls `run` and returns its result. The requests that it adds use this prefix instead of the current one. */
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
