'use strict';

const { Operation } = require('../boundary/outbox.js');
const { elapsed } = require('../common/timers.js');
const { Backend } = require('./backend.js');

/** @import { Backend as Runner, Receiver, Watcher } from '../types.d.ts' */
/** @typedef {Parameters<Runner['add']>} Added */

/** A request that another backend may run instead. */
class HeldRequest {
  #held;
  #args;
  #prefix;
  #since = elapsed();
  #isRecalled = false;

  /** @param {Set<HeldRequest>} held @param {Added} args the arguments of `add` @param {string} prefix */
  constructor(held, args, prefix) {
    this.#held = held;
    this.#args = args;
    this.#prefix = prefix;
    held.add(this);
  }

  /** @param {Parameters<Receiver['complete']>} completion */
  complete(...completion) {
    if (this.#isRecalled) return;
    this.#held.delete(this);
    this.#args[1].complete(...completion);
  }

  /** Runs the operation by another backend. Its deadline stays the same. @param {Runner} backend */
  recall(backend) {
    this.#isRecalled = true;
    const [operation, request, id, value, ttl, base] = this.#args;
    backend.withPrefix(this.#prefix, () =>
      backend.add(operation, request, id, value, ttl, base, this.#since),
    );
  }
}

/**
 * Runs operations on one backend, and can replace it by another one as long as it has not served: the new one runs the
 * operations that wait, too.
 */
class FallbackBackend extends Backend {
  #backend;
  /** @type {number | undefined} */
  #scanCount;
  /**
   * The requests without a completion, until the backend has served or is replaced.
   *
   * @type {Set<HeldRequest> | undefined}
   */
  #held = new Set();

  /** @param {Runner} backend @param {string} prefix */
  constructor(backend, prefix) {
    super();
    this.#backend = backend;
    this.prefix = prefix;
  }

  /** Keeps the backend permanently. */
  keep() {
    this.#held = undefined;
  }

  /** @param {Runner} backend */
  replace(backend) {
    const former = this.#backend;
    const held = this.#held ?? [];
    this.#backend = backend;
    backend.setPrefix(this.prefix);
    if (this.#scanCount !== undefined) backend.setScanCount(this.#scanCount);
    this.keep();
    former.unwatch();
    former.add(Operation.CLOSE, { complete() {} });
    former.flush();
    for (const request of held) request.recall(this);
  }

  /** @type {Runner['add']} */
  add(operation, request, id, value, ttl, base, since) {
    const { PAGE, CLOSE } = Operation;
    // A scan is bound to the backend that has opened it.
    const held = operation === PAGE || operation === CLOSE ? undefined : this.#held;
    /** @type {Added} */
    const args = [operation, request, id, value, ttl, base];
    const runner = held === undefined ? request : new HeldRequest(held, args, this.prefix);
    this.#backend.add(operation, runner, id, value, ttl, base, since);
  }

  /** @type {Runner['openScan']} */
  openScan(kind, match, scanCount) {
    return this.#backend.openScan(kind, match, scanCount);
  }

  /** The name of the server in errors. */
  get server() {
    return this.#backend.server;
  }

  /** @param {string} prefix */
  setPrefix(prefix) {
    super.setPrefix(prefix);
    this.#backend.setPrefix(prefix);
  }

  /** @param {number} count */
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

  /** @param {Watcher} watcher */
  watch(watcher) {
    this.#backend.watch(watcher);
  }

  unwatch() {
    this.#backend.unwatch();
  }
}

module.exports = { FallbackBackend };
