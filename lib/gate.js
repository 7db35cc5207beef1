'use strict';

const { storeClosed } = require('./common/errors.js');

/** Whether operations can be tried: from the first one on, which has to prepare the store, until it is closed. */
class Gate {
  #prepare;
  #isShut = false;
  isOpen = false;

  /** @param prepare what the first operation has to do; throws if it cannot be done */
  constructor(prepare) {
    this.#prepare = prepare;
  }

  get isShut() {
    return this.#isShut;
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
