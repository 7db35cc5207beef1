'use strict';

const { Kind } = require('../boundary/request.js');
const { fromNative } = require('../common/errors.js');

/** @import { Complete } from '../types.d.ts' */

/**
 * Receives the events of a store's connection. Holds the connection weakly, so that it is garbage collected together
 * with a store that the app has dropped.
 *
 * @template {object} Connection
 */
class ConnectionEvents {
  #connection;
  #onEvent;

  /** @param {Connection} connection @param {(connection: Connection, event: string, error?: Error) => void} onEvent */
  constructor(connection, onEvent) {
    this.#connection = new WeakRef(connection);
    this.#onEvent = onEvent;
  }

  /** @type {Complete} */
  complete(kind, text) {
    if (kind !== Kind.EVENT) return;
    const connection = this.#connection.deref();
    if (connection === undefined) return;
    const end = text.indexOf('\n');
    if (end === -1) this.#onEvent(connection, text);
    else this.#onEvent(connection, text.slice(0, end), fromNative(text.slice(end + 1)));
  }
}

module.exports = { ConnectionEvents };
