'use strict';

const { Kind } = require('../boundary/request.js');
const { fromNative } = require('../common/store-error.js');

/** @import { Complete, Observation } from '../types.d.ts' */

/**
 * Receives the events of a store's connection. Holds the connection weakly, so that it is garbage collected together
 * with a store that the app has dropped.
 *
 * @template {object} Connection
 */
class ConnectionEvents {
  #connection;
  #onEvent;

  /** @param {Connection} connection @param {(connection: Connection, event: string, details?: any) => void} onEvent */
  constructor(connection, onEvent) {
    this.#connection = new WeakRef(connection);
    this.#onEvent = onEvent;
  }

  /** Handles an event of the addon. @type {Complete} */
  complete(kind, text) {
    if (kind !== Kind.EVENT) return;
    const end = text.indexOf('\n');
    if (end === -1) this.notify(text);
    else {
      const event = text.slice(0, end);
      const details = text.slice(end + 1);
      this.notify(event, event === 'observed' ? JSON.parse(details) : fromNative(details));
    }
  }

  /** @param {string} event @param {Error | Observation} [details] */
  notify(event, details) {
    const connection = this.#connection.deref();
    if (connection !== undefined) this.#onEvent(connection, event, details);
  }
}

module.exports = { ConnectionEvents };
