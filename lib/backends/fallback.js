'use strict';

const { Operation } = require('../boundary/outbox.js');
const { elapsed } = require('../common/timers.js');
const { Backend } = require('./backend.js');

/** A request that another backend may run instead. */
class HeldRequest {
  #held;
  #args;
  #prefix;
  #since = elapsed();
  #isRecalled = false;

  /** @param args the arguments of `add` */
  constructor(held, args, prefix) {
    this.#held = held;
    this.#args = args;
    this.#prefix = prefix;
    held.add(this);
  }

  complete(...completion) {
    if (this.#isRecalled) return;
    this.#held.delete(this);
    this.#args[1].complete(...completion);
  }

  /** Runs the operation by another backend. Its deadline stays the same. */
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
  #scanCount;
  /** The requests without a completion, until the backend has served or is replaced. */
  #held = new Set();

  constructor(backend, prefix) {
    super();
    this.#backend = backend;
    this.prefix = prefix;
  }

  /** Keeps the backend permanently. */
  keep() {
    this.#held = undefined;
  }

  replace(backend) {
    const former = this.#backend;
    const held = this.#held;
    this.#backend = backend;
    backend.setPrefix(this.prefix);
    if (this.#scanCount !== undefined) backend.setScanCount(this.#scanCount);
    this.keep();
    former.unwatch();
    former.add(Operation.CLOSE, { complete() {} });
    former.flush();
    for (const request of held) request.recall(this);
  }

  add(operation, request, id, value, ttl, base, since) {
    const { PAGE, CLOSE } = Operation;
    // A scan is bound to the backend that has opened it.
    const isHeld = this.#held !== undefined && operation !== PAGE && operation !== CLOSE;
    const args = [operation, request, id, value, ttl, base];
    const runner = isHeld ? new HeldRequest(this.#held, args, this.prefix) : request;
    this.#backend.add(operation, runner, id, value, ttl, base, since);
  }

  openScan(kind, match, scanCount) {
    return this.#backend.openScan(kind, match, scanCount);
  }

  setPrefix(prefix) {
    this.prefix = prefix;
    this.#backend.setPrefix(prefix);
  }

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

  watch(watcher) {
    this.#backend.watch(watcher);
  }

  unwatch() {
    this.#backend.unwatch();
  }
}

module.exports = { FallbackBackend };
