'use strict';

const { Operation } = require('../boundary/outbox.js');
const { elapsed } = require('../common/timers.js');
const { Backend } = require('../boundary/backend.js');

/** @import { Backend as Runner, Completion } from '../types.d.ts' */

/**
 * Runs operations on one backend, and can replace it by another one as long as it has not served: the new one runs the
 * operations that wait, too.
 */
class FallbackBackend extends Backend {
  #backend;
  /** @type {number | undefined} */
  #scanCount;
  /** Run the requests without a completion again; undefined once the backend has served or is replaced. */
  #pending = /** @type {Set<() => void> | undefined} */ (new Set());

  /** @param {Runner} backend @param {string} prefix */
  constructor(backend, prefix) {
    super();
    this.#backend = backend;
    this.prefix = prefix;
  }

  /** Keeps the backend permanently. */
  keep() {
    this.#pending = undefined;
  }

  /** @param {Runner} backend */
  replace(backend) {
    const former = this.#backend;
    const pending = this.#pending ?? [];
    this.#backend = backend;
    backend.setPrefix(this.prefix);
    if (this.#scanCount !== undefined) backend.setScanCount(this.#scanCount);
    this.keep();
    former.unwatch();
    former.add(Operation.CLOSE, { complete() {} });
    former.flush();
    for (const run of pending) run();
  }

  /** @type {Runner['add']} */
  add(operation, request, id, value, argument, base, since) {
    const pending = this.#pending;
    let receiver = request;
    // A scan is bound to the backend that has opened it.
    if (pending !== undefined && operation !== Operation.PAGE && operation !== Operation.CLOSE) {
      const { prefix } = this;
      const began = elapsed();
      let isReplaced = false;
      const runAgain = () => {
        isReplaced = true;
        // The deadline stays the same.
        const run = () => this.#backend.add(operation, request, id, value, argument, base, began);
        this.withPrefix(prefix, run);
      };
      const complete = (/** @type {Completion} */ ...completion) => {
        pending.delete(runAgain);
        if (!isReplaced) request.complete(...completion);
      };
      pending.add(runAgain);
      receiver = { complete, trace: request.trace, store: request.store };
    }
    return this.#backend.add(operation, receiver, id, value, argument, base, since);
  }

  /** @type {Runner['openScan']} */
  openScan(kind, match, scanCount) {
    return this.#backend.openScan(kind, match, scanCount);
  }

  get server() {
    return this.#backend.server;
  }

  /** @param {string} prefix */
  setPrefix(prefix) {
    super.setPrefix(prefix);
    this.#backend.setPrefix(prefix);
  }

  /** @type {Runner['setScanCount']} */
  setScanCount(count) {
    this.#scanCount = count;
    this.#backend.setScanCount(count);
  }

  flush() {
    this.#backend.flush();
  }

  reopen() {
    this.#backend.reopen();
  }

  /** @type {Runner['watch']} */
  watch(watcher) {
    this.#backend.watch(watcher);
  }

  unwatch() {
    this.#backend.unwatch();
  }
}

module.exports = { FallbackBackend };
