'use strict';

const { AsyncResource } = require('node:async_hooks');
const { thrown } = require('../common/app-functions.js');
const { fromNative } = require('../common/errors.js');
const { nextTick } = require('../common/timers.js');

/**
 * The kinds of completions, and what is added to them: the text is wide; the time it ends follows.
 * src/slice.rs knows the same numbers.
 */
const Kind = {
  DONE: 0,
  MISSING: 1,
  SESSION: 2,
  ITEM: 3,
  ID: 4,
  COUNT: 5,
  FAILED: 6,
  EVENT: 7,
  ENDED: 8,
  MORE: 9,
  CONFLICT: 10,
  COMMANDS: 11,
  TOO_LONG: 12,
  ALL: 15,
  WIDE: 16,
  TIMED: 32,
};

/**
 * A request under way. As an AsyncResource it has its callback run in the async context of the call
 * (AsyncLocalStorage), whichever request woke the event loop.
 *
 * Subclasses override what differs.
 */
class Request extends AsyncResource {
  constructor(store, callback) {
    super('RedisStore');
    this.store = store;
    this.callback = callback;
  }

  /**
   * Takes a completion: the text is a session's, an id, or an error's; in its place, a COUNT has its
   * number. `ends` is when a session ends, in ms since 1970, where that was asked for.
   */
  complete(kind, text) {
    if (kind === Kind.FAILED) this.fail(fromNative(text));
    else this.succeed(null);
  }

  succeed(result) {
    this.#settle(null, result);
  }

  /** @param reason an error, or what an app's own function threw */
  fail(reason) {
    this.#settle(thrown(reason), null);
  }

  /** Calls the callback, in no `try` of ours: what it throws is the app's. */
  #settle(error, result) {
    // The scope would end, and leave the domain of `node:domain`, before the domain learns what the callback threw.
    if (this.domain !== undefined) this.runInAsyncScope(nextTick, undefined, this.callback, error, result);
    else this.runInAsyncScope(this.callback, undefined, error, result);
  }
}

module.exports = { Kind, Request };
