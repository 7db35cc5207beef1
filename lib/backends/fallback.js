'use strict';

const { Operation } = require('../boundary/outbox.js');
const { Kind } = require('../boundary/request.js');
const { elapsed } = require('../common/timers.js');
const { Backend } = require('../boundary/backend.js');

/** @import { Backend as Runner, Completion, Receiver } from '../types.d.ts' */

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
    // A scan is bound to the backend that has opened it.
    if (operation === Operation.PAGE || operation === Operation.CLOSE)
      return this.#backend.add(operation, request, id, value, argument, base, since);
    return this.#run(request, since, (backend, receiver, began) =>
      backend.add(operation, receiver, id, value, argument, base, began),
    );
  }

  /** @type {Runner['addScript']} */
  addScript(request, script, calls, since) {
    this.#run(request, since, (backend, receiver, began) =>
      backend.addScript(receiver, script, calls, began),
    );
  }

  /**
   * Adds a request to the backend, and to the one that replaces it if there is no completion by then.
   *
   * @type {(request: Receiver, since: number | undefined,
   *   add: (backend: Runner, receiver: Receiver, since: number | undefined) => unknown) => unknown}
   */
  #run(request, since, add) {
    const pending = this.#pending;
    let receiver = request;
    if (pending !== undefined) {
      const { prefix } = this;
      const began = elapsed();
      let isReplaced = false;
      const runAgain = () => {
        isReplaced = true;
        // The deadline stays the same.
        this.withPrefix(prefix, () => add(this.#backend, request, began));
      };
      const complete = (/** @type {Completion} */ ...completion) => {
        const [kind] = completion;
        if (kind !== Kind.ID) pending.delete(runAgain);
        if (!isReplaced) request.complete(...completion);
      };
      pending.add(runAgain);
      receiver = { complete, trace: request.trace, store: request.store };
    }
    return add(this.#backend, receiver, since);
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
