'use strict';

const { Operation, ScanKind } = require('../boundary/outbox.js');
const { Request } = require('../boundary/request.js');
const { nextTick } = require('../common/timers.js');
const { All, Ids, Length } = require('./all.js');
const { scan } = require('./scan.js');

/** @import { Backend, Callback, Settings, StoreState, Tracer } from '../types.d.ts' */

/** The operations of a store on all of its sessions. */
class BulkOperations {
  #settings;
  #state;
  #outbox;
  #timeout;
  #tracer;

  /** @param {{ settings: Settings, state: StoreState, outbox: Backend, timeout: number, tracer: Tracer }} parts */
  constructor({ settings, state, outbox, timeout, tracer }) {
    this.#settings = settings;
    this.#state = state;
    this.#outbox = outbox;
    this.#timeout = timeout;
    this.#tracer = tracer;
  }

  /** Applies settings to the operations that follow. @param {Settings} settings */
  use(settings) {
    this.#settings = settings;
  }

  /** @param {Callback} callback */
  ids(callback) {
    this.#run('ids', callback, (done) => this.#readPages(ScanKind.IDS, Ids, done));
  }

  /** @param {Callback} callback */
  all(callback) {
    const kind = this.#settings.isTimed ? ScanKind.SESSIONS_TIMED : ScanKind.SESSIONS;
    this.#run('all', callback, (done) => this.#readPages(kind, All, done));
  }

  /** @param {Callback} callback */
  length(callback) {
    this.#run('length', callback, (done) =>
      this.#outbox.add(Operation.LENGTH, new Length(this.#settings, done, 'length')),
    );
  }

  /** @param {Callback} callback */
  clear(callback) {
    this.#run('clear', callback, (done) =>
      this.#outbox.add(Operation.CLEAR, new Request(this.#settings, done, 'clear')),
    );
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
      tracer: this.#tracer,
    });
  }

  /**
   * Begins an operation if the store is open.
   *
   * @type {(name: 'all' | 'ids' | 'length' | 'clear', callback: Callback, begin: (done: Callback) => void) => void}
   */
  #run(name, callback, begin) {
    this.#tracer.run(name, undefined, callback, (done) => {
      const error = this.#state.openFor(name);
      if (error) {
        this.#settings.stats.reject(name, error);
        nextTick(done, error, null);
      } else begin(done);
    });
  }

  /** @type {(kind: number, RequestClass: typeof Ids | typeof All, callback: Callback) => void} */
  #readPages(kind, RequestClass, callback) {
    const cursor = this.#outbox.openScan(kind, '*');
    const settings = this.#settings;
    new RequestClass(settings, callback, this.#outbox, cursor, settings.isTimed, this.#timeout).begin();
  }
}

module.exports = { BulkOperations };
