'use strict';

const { Kind } = require('../boundary/request.js');
const { fromNative } = require('../common/errors.js');

/**
 * Takes the events of a store's connection. Holds its store weakly: one that the app has forgotten is to
 * be collected, and its connection with it.
 */
class ConnectionEvents {
  #store;
  #tell;

  /** @param tell called with the store, the event's name and, for some, the error behind it */
  constructor(store, tell) {
    this.#store = new WeakRef(store);
    this.#tell = tell;
  }

  complete(kind, text) {
    if (kind !== Kind.EVENT) return;
    const store = this.#store.deref();
    if (store === undefined) return;
    const end = text.indexOf('\n');
    if (end === -1) this.#tell(store, text);
    else this.#tell(store, text.slice(0, end), fromNative(text.slice(end + 1)));
  }
}

module.exports = { ConnectionEvents };
