'use strict';

const { Operation, ScanKind } = require('../boundary/outbox.js');
const { nextTick } = require('../common/timers.js');
const { All, BulkRequest, Ids, Length } = require('./all.js');
const { scan } = require('./scan.js');

/** @import { Backend, Callback, Closable, Settings, StoreState, Tracer } from '../types.d.ts' */

/** The operations of a store on all of its sessions. They return the request, which can be closed, if they begin. */
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
    return this.#run('ids', callback, (done) => this.#readPages(ScanKind.IDS, Ids, done));
  }

  /** @param {Callback} callback */
  all(callback) {
    const kind = this.#settings.isTimed ? ScanKind.SESSIONS_TIMED : ScanKind.SESSIONS;
    return this.#run('all', callback, (done) => this.#readPages(kind, All, done));
  }

  /** @param {Callback} callback */
  length(callback) {
    return this.#run('length', callback, (done) =>
      new Length(this.#settings, done, this.#outbox, 'length').begin(Operation.LENGTH),
    );
  }

  /** @param {Callback} callback */
  clear(callback) {
    this.#settings.knownEnds.forgetAll();
    this.#settings.lifetimes?.forgetAll();
    return this.#run('clear', callback, (done) =>
      new BulkRequest(this.#settings, done, this.#outbox, 'clear').begin(Operation.CLEAR),
    );
  }

  /** @param {{ count?: number, match: string, signal?: AbortSignal, readsAhead?: boolean }} options checked by `check.scan` */
  scan({ count, match, signal, readsAhead }) {
    this.#state.open();
    const { prefix } = this.#settings;
    const open = () => this.#outbox.openScan(ScanKind.SESSIONS_TIMED, match, count);
    return scan(this.#settings, this.#outbox, {
      // The iteration begins later, when the store may use another prefix.
      open: () => this.#outbox.withPrefix(prefix, open),
      isClosed: () => this.#state.isClosed,
      timeout: this.#timeout,
      signal,
      readsAhead,
      tracer: this.#tracer,
    });
  }

  /**
   * Begins an operation if the store is open.
   *
   * @type {(name: 'all' | 'ids' | 'length' | 'clear', callback: Callback, begin: (done: Callback) => Closable) =>
   *   Closable | undefined}
   */
  #run(name, callback, begin) {
    return this.#tracer.run(name, undefined, callback, (done) => {
      const error = this.#state.openFor(name);
      if (!error) return begin(done);
      this.#settings.stats.reject(name, error);
      nextTick(done, error, null);
      return undefined;
    });
  }

  /** @type {(kind: number, RequestClass: typeof Ids | typeof All, callback: Callback) => Closable} */
  #readPages(kind, RequestClass, callback) {
    const cursor = this.#outbox.openScan(kind, '*');
    const settings = this.#settings;
    return new RequestClass(
      settings,
      callback,
      this.#outbox,
      cursor,
      settings.isTimed,
      this.#timeout,
    ).begin();
  }
}

module.exports = { BulkOperations };
