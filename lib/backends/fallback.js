'use strict';

const { Operation } = require('../boundary/outbox.js');
const { elapsed } = require('../common/timers.js');

/** @import { Backend, Cursor, Receiver, Watcher } from '../types.d.ts' */
/** @typedef {Parameters<Backend['add']>} Added */

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

  /** Runs the operation by another backend. Its deadline stays the same. @param {Backend} backend */
  recall(backend) {
    this.#isRecalled = true;
    const [operation, request, id, value, ttl, base] = this.#args;
    backend.withPrefix(this.#prefix, () =>
      backend.add(operation, request, id, value, ttl, base, this.#since),
    );
  }
}

/**
 * A scan that begins again with another backend: until the first one serves, no page has been read.
 */
class HeldScan {
  #open;
  /** @type {Backend | undefined} */
  #backend;
  /** @type {Cursor | undefined} */
  #scan;

  /** @param {(backend: Backend) => Cursor} open opens the scan with a backend */
  constructor(open) {
    this.#open = open;
  }

  /** Identifies the scan in the requests for its pages. */
  get number() {
    return this;
  }

  /** @param {Backend} backend */
  numberIn(backend) {
    if (backend !== this.#backend) {
      this.close();
      this.#backend = backend;
      this.#scan = this.#open(backend);
    }
    return this.#scan?.number;
  }

  close() {
    this.#scan?.close();
  }
}

/**
 * Runs operations on one backend, and can replace it by another one as long as it has not served: the new one runs the
 * operations that wait, too. Has the interface of both.
 */
class FallbackBackend {
  #backend;
  #prefix;
  /** @type {number | undefined} */
  #scanCount;
  /**
   * The requests without a completion, until the backend has served or is replaced.
   *
   * @type {Set<HeldRequest> | undefined}
   */
  #held = new Set();

  /** @param {Backend} backend @param {string} prefix */
  constructor(backend, prefix) {
    this.#backend = backend;
    this.#prefix = prefix;
  }

  /** Keeps the backend permanently. */
  keep() {
    this.#held = undefined;
  }

  /** @param {Backend} backend */
  replace(backend) {
    const former = this.#backend;
    const held = this.#held ?? [];
    this.#backend = backend;
    backend.setPrefix(this.#prefix);
    if (this.#scanCount !== undefined) backend.setScanCount(this.#scanCount);
    this.keep();
    former.unwatch();
    former.add(Operation.CLOSE, { complete() {} });
    former.flush();
    for (const request of held) request.recall(this);
  }

  /** @type {Backend['add']} */
  add(operation, request, id, value, ttl, base, since) {
    if (this.#held !== undefined && operation !== Operation.CLOSE) {
      const held = new HeldRequest(this.#held, [operation, request, id, value, ttl, base], this.#prefix);
      this.#add(operation, held, id, value, ttl, base);
    } else this.#add(operation, request, id, value, ttl, base, since);
  }

  /** @type {Backend['add']} */
  #add(operation, request, id, value, ttl, base, since) {
    const argument = operation === Operation.PAGE ? ttl.numberIn(this.#backend) : ttl;
    this.#backend.add(operation, request, id, value, argument, base, since);
  }

  /** @type {Backend['openScan']} */
  openScan(kind, match, scanCount) {
    const prefix = this.#prefix;
    return new HeldScan((backend) =>
      backend.withPrefix(prefix, () => backend.openScan(kind, match, scanCount)),
    );
  }

  /** @param {string} prefix */
  setPrefix(prefix) {
    this.#prefix = prefix;
    this.#backend.setPrefix(prefix);
  }

  /** @type {Backend['withPrefix']} */
  withPrefix(prefix, run) {
    const current = this.#prefix;
    if (prefix === current) return run();
    this.setPrefix(prefix);
    const result = run();
    this.setPrefix(current);
    return result;
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
