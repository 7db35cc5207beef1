'use strict';

const { Operation, ScanKind } = require('../boundary/outbox.js');
const { Request } = require('../boundary/request.js');
const { nextTick } = require('../common/timers.js');
const { All, Ids, Length } = require('./all.js');
const { scan } = require('./scan.js');

/** @import { Backend, Callback, Settings, StoreState } from '../types.d.ts' */

/** The operations of a store on all of its sessions. */
class BulkOperations {
  #settings;
  #state;
  #outbox;
  #timeout;

  /** @param {{ settings: Settings, state: StoreState, outbox: Backend, timeout: number }} parts */
  constructor({ settings, state, outbox, timeout }) {
    this.#settings = settings;
    this.#state = state;
    this.#outbox = outbox;
    this.#timeout = timeout;
  }

  /** Applies settings to the operations that follow. @param {Settings} settings */
  use(settings) {
    this.#settings = settings;
  }

  /** @param {Callback} callback */
  ids(callback) {
    this.#runPaged(ScanKind.IDS, Ids, 'ids', callback);
  }

  /** @param {Callback} callback */
  all(callback) {
    const kind = this.#settings.isTimed ? ScanKind.SESSIONS_TIMED : ScanKind.SESSIONS;
    this.#runPaged(kind, All, 'all', callback);
  }

  /** @param {Callback} callback */
  length(callback) {
    this.#run(Operation.LENGTH, Length, 'length', callback);
  }

  /** @param {Callback} callback */
  clear(callback) {
    this.#run(Operation.CLEAR, Request, 'clear', callback);
  }

  /** @param {{ count?: number, match: string, signal?: AbortSignal }} options checked by `check.scan` */
  scan({ count, match, signal }) {
    this.#state.open();
    const { prefix } = this.#settings;
    const open = () => this.#outbox.openScan(ScanKind.SESSIONS_TIMED, match, count);
    return scan(this.#settings, this.#outbox, {
      // The iteration begins later, when the store may use another prefix.
      open: () => this.#outbox.withPrefix(prefix, open),
      isClosed: () => this.#state.isClosed,
      timeout: this.#timeout,
      signal,
    });
  }

  /**
   * Runs an operation with a single completion.
   *
   * @param {number} operation
   * @param {typeof Request} RequestClass
   * @param {string} name
   * @param {Callback} callback
   */
  #run(operation, RequestClass, name, callback) {
    const error = this.#state.openFor(name);
    if (error) nextTick(callback, error, null);
    else this.#outbox.add(operation, new RequestClass(this.#settings, callback));
  }

  /**
   * Runs an operation whose results come in pages.
   *
   * @param {number} kind
   * @param {typeof Ids | typeof All} RequestClass
   * @param {string} name
   * @param {Callback} callback
   */
  #runPaged(kind, RequestClass, name, callback) {
    const error = this.#state.openFor(name);
    if (error) nextTick(callback, error, null);
    else {
      const cursor = this.#outbox.openScan(kind, '*');
      const settings = this.#settings;
      new RequestClass(settings, callback, this.#outbox, cursor, settings.isTimed, this.#timeout).begin();
    }
  }
}

module.exports = { BulkOperations };
