'use strict';

const { Kind } = require('../boundary/request.js');
const { fromNative } = require('../common/errors.js');

/**
 * Receives the events of a store's connection. Holds the connection weakly, so that it is garbage collected together
 * with a store that the app has dropped.
 */
class ConnectionEvents {
  #connection;
  #onEvent;

  /** @param onEvent called with the connection, the event's name and, for some events, an error */
  constructor(connection, onEvent) {
    this.#connection = new WeakRef(connection);
    this.#onEvent = onEvent;
  }

  /** Handles an event of the addon. */
  complete(kind, text) {
    if (kind !== Kind.EVENT) return;
    const end = text.indexOf('\n');
    if (end === -1) this.notify(text);
    else this.notify(text.slice(0, end), fromNative(text.slice(end + 1)));
  }

  notify(event, error) {
    const connection = this.#connection.deref();
    if (connection !== undefined) this.#onEvent(connection, event, error);
  }
}

module.exports = { ConnectionEvents };
