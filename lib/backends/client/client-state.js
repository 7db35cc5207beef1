'use strict';

const { errorMonitor } = require('node:events');
const { endEvent, hasEnded } = require('../../clients/closing.js');
const { causeOf } = require('./errors.js');

/** @import { Cause, RedisClient } from '../../types.d.ts' */

/** Events after which the state of a client may have changed. */
const STATE_EVENTS = ['connect', 'ready', 'close', 'reconnecting', 'end', 'disconnect'];
const IOREDIS_CONNECTED = ['ready', 'wait']; // 'wait': connects with its first command

/** Reads the state of the app's client, and observes its events if it has any. */
class ClientState {
  #client;
  /** @type {[event: string | symbol, listener: (error: unknown) => void][]} */
  #listeners = [];
  /** True once a client of redis was open: some do not report when they are closed. */
  #wasOpen = false;

  /** @param {RedisClient} client */
  constructor(client) {
    this.#client = client;
  }

  /**
   * Starts to observe the client.
   *
   * @param {{ changed: () => void, failed: (cause: Cause) => void, ended: () => void }} observer
   */
  listen({ changed, failed, ended }) {
    const client = this.#client;
    if (typeof client.on !== 'function' || typeof client.off !== 'function') return;
    for (const event of STATE_EVENTS) this.#listeners.push([event, changed]);
    // `errorMonitor` rather than 'error', which would hide errors that the app does not handle.
    this.#listeners.push([errorMonitor, (error) => failed(causeOf(error))]);
    this.#listeners.push([endEvent(client), ended]);
    for (const [event, listener] of this.#listeners) client.on(event, listener);
  }

  unlisten() {
    for (const [event, listener] of this.#listeners) this.#client.off(event, listener);
    this.#listeners = [];
  }

  /** The app has closed the client, even if that was not reported. */
  get isClosed() {
    const client = this.#client;
    this.#wasOpen ||= client.isOpen === true;
    const isOver = client.status === 'end' || client.isClosed === true; // ioredis, valkey-glide
    return isOver || (this.#wasOpen && client.isOpen === false) || hasEnded(client);
  }

  /** The reason why the client is not connected; undefined if it is, or if its state is unknown. */
  get disconnectReason() {
    const { status, isReady, isOpen } = this.#client;
    const isConnected = typeof isReady === 'boolean' ? isReady : isOpen;
    if (typeof isConnected === 'boolean') return isConnected ? undefined : 'it is not connected';
    if (typeof status !== 'string' || IOREDIS_CONNECTED.includes(status)) return undefined;
    return `its status is "${status}"`;
  }
}

module.exports = { ClientState };
