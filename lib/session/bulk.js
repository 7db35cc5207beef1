'use strict';

const { Operation, ScanKind } = require('../boundary/outbox.js');
const { Request } = require('../boundary/request.js');
const { nextTick } = require('../common/timers.js');
const { All, Ids, Length } = require('./all.js');
const { scan } = require('./scan.js');

/** The operations of a store on all of its sessions. */
class BulkOperations {
  /** The settings, which requests use as their store. */
  #store;
  #settings;
  #state;
  #native;
  #outbox;
  #timeout;

  constructor({ settings, state, native, outbox, timeout }) {
    this.use(settings);
    this.#state = state;
    this.#native = native;
    this.#outbox = outbox;
    this.#timeout = timeout;
  }

  /** Applies settings to the operations that follow. */
  use(settings) {
    this.#store = settings;
    this.#settings = settings;
  }

  ids(callback) {
    this.#runPaged(ScanKind.IDS, Ids, 'ids', callback);
  }

  all(callback) {
    const kind = this.#settings.isTimed ? ScanKind.SESSIONS_TIMED : ScanKind.SESSIONS;
    this.#runPaged(kind, All, 'all', callback);
  }

  length(callback) {
    this.#run(Operation.LENGTH, Length, 'length', callback);
  }

  clear(callback) {
    this.#run(Operation.CLEAR, Request, 'clear', callback);
  }

  /** @param options checked by `check.scan` */
  scan({ count, match, signal }) {
    this.#state.open();
    const { prefix } = this.#settings;
    const open = () => this.#native.list(ScanKind.SESSIONS_TIMED, match, count);
    return scan(this.#store, this.#outbox, {
      // The iteration begins later, when the store may use another prefix.
      open: () => this.#outbox.withPrefix(prefix, open),
      isClosed: () => this.#state.isClosed,
      timeout: this.#timeout,
      signal,
    });
  }

  /** Runs an operation with a single completion. */
  #run(operation, RequestClass, name, callback) {
    const error = this.#state.openFor(name);
    if (error) nextTick(callback, error, null);
    else this.#outbox.add(operation, new RequestClass(this.#store, callback));
  }

  /** Runs an operation whose results come in pages. */
  #runPaged(kind, RequestClass, name, callback) {
    const error = this.#state.openFor(name);
    if (error) nextTick(callback, error, null);
    else {
      const cursor = this.#native.list(kind, '*');
      const { isTimed } = this.#settings;
      new RequestClass(this.#store, callback, this.#outbox, cursor, isTimed, this.#timeout).begin();
    }
  }
}

module.exports = { BulkOperations };
