'use strict';

const { clientClosed, storeClosed } = require('./common/store-error.js');

/**
 * The state of a store. It is open, and accepts operations, after the first one has prepared it and until it is closed,
 * except while it is suspended because the app's client is closed.
 */
class StoreState {
  #prepare;
  #isPrepared = false;
  #isEnded = false;
  /** The app's client as error messages name it, while the client is closed. @type {string | undefined} */
  #closedClient;
  /** Resumes the store if its client is open again. */
  #tryResume = () => {};
  isOpen = false;

  /** @param {() => void} prepare called by the next operation; throws if the store cannot be prepared */
  constructor(prepare) {
    this.#prepare = prepare;
  }

  /** The store is closed, permanently or together with its client. */
  get isClosed() {
    return this.#isEnded || this.isSuspended;
  }

  get isSuspended() {
    return this.#closedClient !== undefined;
  }

  /** Makes the next operation prepare the store again. */
  reset() {
    this.#isPrepared = false;
    this.isOpen = false;
  }

  /** Prepares the store unless it is open or closed. @throws the exception of `prepare` */
  open() {
    if (this.isOpen || this.isClosed) return;
    this.#prepare();
    this.#isPrepared = true;
    this.isOpen = true;
  }

  close() {
    this.#isEnded = true;
    this.isOpen = false;
  }

  /**
   * @param {string} client the name of the client in error messages
   * @param {() => void} tryResume called by each operation that follows; calls `resume` if the client is open again
   */
  suspend(client, tryResume) {
    this.#closedClient = client;
    this.#tryResume = tryResume;
    this.isOpen = false;
  }

  resume() {
    this.#closedClient = undefined;
    this.isOpen = this.#isPrepared && !this.#isEnded;
  }

  /**
   * Opens the store for an operation. Returns the error with which the operation fails if that is not possible.
   *
   * @param {string} name
   * @returns {unknown}
   */
  openFor(name) {
    if (this.isSuspended && !this.#isEnded) {
      this.#tryResume();
      if (this.#closedClient !== undefined) return clientClosed(name, this.#closedClient);
    }
    if (this.isOpen) return undefined;
    if (this.#isEnded) return storeClosed(name);
    try {
      this.open();
    } catch (error) {
      return error;
    }
    return undefined;
  }
}

module.exports = { StoreState };
