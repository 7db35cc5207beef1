'use strict';

const { clientClosed, storeClosed } = require('./common/errors.js');

/**
 * Lets operations through once the store is prepared for them, until it is closed; and not while it is suspended, as
 * the app's client is closed.
 */
class Gate {
  #prepare;
  #isPrepared = false;
  #isShut = false;
  /** The app's client as errors name it, while the client is closed. */
  #closedClient;
  /** Resumes the store if its client is open again. */
  #wake;
  isOpen = false;

  /** @param prepare run by the next operation; throws if the store cannot be prepared */
  constructor(prepare) {
    this.#prepare = prepare;
  }

  /** The store is closed, for good or with its client. */
  get isShut() {
    return this.#isShut || this.isSuspended;
  }

  get isSuspended() {
    return this.#closedClient !== undefined;
  }

  /** Has the next operation prepare the store. */
  reset() {
    this.#isPrepared = false;
    this.isOpen = false;
  }

  /** Of no effect on one that is shut. @throws what the preparation throws */
  open() {
    if (this.isOpen || this.isShut) return;
    this.#prepare();
    this.#isPrepared = true;
    this.isOpen = true;
  }

  shut() {
    this.#isShut = true;
    this.isOpen = false;
  }

  /**
   * @param client as errors name it
   * @param wake called by each operation that comes; calls `resume` if the client is open again
   */
  suspend(client, wake) {
    this.#closedClient = client;
    this.#wake = wake;
    this.isOpen = false;
  }

  resume() {
    this.#closedClient = undefined;
    this.isOpen = this.#isPrepared && !this.#isShut;
  }

  /** Why no operation can be tried, if none can. */
  hindrance(name) {
    if (this.isSuspended && !this.#isShut) {
      this.#wake();
      if (this.isSuspended) return clientClosed(name, this.#closedClient);
    }
    if (this.isOpen) return undefined;
    if (this.#isShut) return storeClosed(name);
    try {
      this.open();
    } catch (error) {
      return error;
    }
    return undefined;
  }
}

module.exports = { Gate };
