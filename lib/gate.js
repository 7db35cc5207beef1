'use strict';

const { storeClosed } = require('./common/errors.js');

/** Lets operations through once the store is prepared for them, until it is closed. */
class Gate {
  #prepare;
  #isShut = false;
  isOpen = false;

  /** @param prepare run by the next operation; throws if the store cannot be prepared */
  constructor(prepare) {
    this.#prepare = prepare;
  }

  get isShut() {
    return this.#isShut;
  }

  /** Has the next operation prepare the store. */
  reset() {
    this.isOpen = false;
  }

  /** Of no effect on one that is shut. @throws what the preparation throws */
  open() {
    if (this.isOpen || this.#isShut) return;
    this.#prepare();
    this.isOpen = true;
  }

  shut() {
    this.#isShut = true;
    this.isOpen = false;
  }

  /** Why no operation can be tried, if none can. */
  hindrance(name) {
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
