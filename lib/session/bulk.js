'use strict';

const { Operation } = require('../boundary/outbox.js');
const { Request } = require('../boundary/request.js');
const { nextTick } = require('../common/timers.js');
const { All, Ids, Length } = require('./all.js');
const { scan } = require('./scan.js');

/** What `native.list` gives. */
const List = { IDS: 0, SESSIONS: 1, SESSIONS_TIMED: 2 };

/** What a store does with all of its sessions at once. */
class BulkOperations {
  /** For the requests, the settings stand for the store. */
  #store;
  #settings;
  #gate;
  #native;
  #outbox;
  #timeout;

  constructor({ settings, gate, native, outbox, timeout }) {
    this.use(settings);
    this.#gate = gate;
    this.#native = native;
    this.#outbox = outbox;
    this.#timeout = timeout;
  }

  /** Puts settings in force for the operations that follow. */
  use(settings) {
    this.#store = settings;
    this.#settings = settings;
  }

  ids(callback) {
    this.#list(List.IDS, Ids, 'ids', callback);
  }

  all(callback) {
    this.#list(this.#settings.isTimed ? List.SESSIONS_TIMED : List.SESSIONS, All, 'all', callback);
  }

  length(callback) {
    this.#walk(Operation.LENGTH, Length, 'length', callback);
  }

  clear(callback) {
    this.#walk(Operation.CLEAR, Request, 'clear', callback);
  }

  /** @param options as `check.scan` gave them */
  scan({ count, match, signal }) {
    this.#gate.open();
    const { prefix } = this.#settings;
    const open = () => this.#native.list(List.SESSIONS_TIMED, match, count);
    return scan(this.#store, this.#outbox, {
      // The iteration begins later, when another prefix may be in force.
      open: () => this.#outbox.under(prefix, open),
      isClosed: () => this.#gate.isShut,
      timeout: this.#timeout,
      signal,
    });
  }

  /** Of which one answer comes. */
  #walk(operation, Walk, name, callback) {
    const hindrance = this.#gate.hindrance(name);
    if (hindrance) nextTick(callback, hindrance, null);
    else this.#outbox.add(operation, new Walk(this.#store, callback));
  }

  /** What is given page by page. */
  #list(what, Listing, name, callback) {
    const hindrance = this.#gate.hindrance(name);
    if (hindrance) nextTick(callback, hindrance, null);
    else {
      const walk = this.#native.list(what, '*');
      const { isTimed } = this.#settings;
      new Listing(this.#store, callback, this.#outbox, walk, isTimed, this.#timeout).begin();
    }
  }
}

module.exports = { BulkOperations };
