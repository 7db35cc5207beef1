'use strict';

const RealDate = Date;

/** Replaces the class Date by one whose clock can be set. Returns functions to set it, and to restore the class. */
function fakeDate() {
  let offset = 0;
  const now = () => RealDate.now() + offset;
  globalThis.Date = class extends RealDate {
    constructor(...args) {
      super(...(args.length === 0 ? [now()] : args));
    }

    static now() {
      return now();
    }
  };
  return {
    /** Sets the clock to this many ms from the right time. */
    step(ms) {
      offset = ms;
    },
    restore() {
      globalThis.Date = RealDate;
    },
  };
}

module.exports = { fakeDate };
