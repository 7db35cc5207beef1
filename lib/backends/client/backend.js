'use strict';

const { Backend } = require('../../boundary/backend.js');
const { Operation, ScanKind } = require('../../boundary/outbox.js');
const { Kind } = require('../../boundary/request.js');
const { elapsed, nextTick } = require('../../common/timers.js');
const { Failure, failures } = require('./errors.js');
const { KeyScan } = require('./key-scan.js');
const { Keys } = require('./keys.js');
const { Lease } = require('./lease.js');
const { callScript, compareAndDelete, compareAndSet, fail, read, write } = require('./operations.js');
const { Scan, clear, count } = require('./scan.js');

/** @import { Backend as Runner, ClientTarget, Completion, Receiver, Request, Script } from '../../types.d.ts' */
/** @import { BulkRequest, Text, Watcher } from '../../types.d.ts' */
/** @import { Complete } from './operations.js' */

/** The operations in statistics. @type {Record<number, string>} */
const NAMES = {
  [Operation.GET]: 'get',
  [Operation.SET]: 'set',
  [Operation.TOUCH]: 'touch',
  [Operation.DESTROY]: 'destroy',
  [Operation.GET_TIMED]: 'get',
  [Operation.SET_EXISTING]: 'set',
  [Operation.SET_NEW]: 'set',
  [Operation.SET_IF_EQUAL]: 'set',
  [Operation.DESTROY_IF_EQUAL]: 'destroy',
  [Operation.LENGTH]: 'length',
  [Operation.CLEAR]: 'clear',
};

/** Runs the operations of a store on the app's client. */
class ClientBackend extends Backend {
  #client;
  #settings;
  #lease;
  #keys;
  /** The keys that belong to no session. */
  #rootKeys;
  #scanCount;

  /** @param {ClientTarget} target @param {{ prefix: string, scanCount: number }} keys */
  constructor(target, { prefix, scanCount }) {
    super();
    const { client, name, command, readsFromReplicas, failsOffline } = target;
    const maxRetries = failsOffline ? 0 : target.maxRetries;
    const { commandTimeout, maxQueue } = target;
    this.#client = client;
    this.#settings = { name, command, readsFromReplicas, commandTimeout, maxQueue, maxRetries, failsOffline };
    this.#scanCount = scanCount;
    this.prefix = prefix;
    this.#keys = new Keys(client, command, prefix);
    this.#rootKeys = new Keys(client, command, '');
    this.#lease = new Lease(this, client, this.#settings);
  }

  reopen() {
    this.#lease.unwatch();
    this.#lease = new Lease(this, this.#client, this.#settings);
  }

  get server() {
    return this.#lease.executor.server;
  }

  stats() {
    return this.#lease.executor.stats();
  }

  /** @param {Watcher} watcher */
  watch(watcher) {
    this.#lease.watch(watcher);
  }

  unwatch() {
    this.#lease.unwatch();
  }

  /** @param {string} prefix */
  setPrefix(prefix) {
    super.setPrefix(prefix);
    this.#keys = new Keys(this.#client, this.#settings.command, prefix);
  }

  /** @param {number} count */
  setScanCount(count) {
    this.#scanCount = count;
  }

  /** Does nothing: each request is run when it is added. */
  flush() {}

  /** @type {Runner['openScan']} */
  openScan(kind, match, scanCount = this.#scanCount) {
    const lease = this.#lease;
    const scan = new KeyScan(lease.executor, this.#keys, match, scanCount);
    // An app may abandon this kind, so `close` does not wait for it.
    if (kind === ScanKind.SESSIONS_TIMED) return new Scan(scan, kind, () => {});
    lease.begin();
    return new Scan(scan, kind, () => lease.end());
  }

  /**
   * Runs an operation, in the async context of its request.
   *
   * @type {(operation: number, request: any, id?: string, value?: Text, ttl?: any, base?: Text, since?: number) => void}
   */
  add(operation, request, id = '', value = '', ttl = 0, base = '', since = undefined) {
    const { GET, GET_TIMED, SET_NEW, SET_IF_EQUAL, DESTROY_IF_EQUAL, LENGTH, CLEAR, PAGE, CLOSE, ABORT } =
      Operation;
    const lease = this.#lease;
    // Only the addon compares the expiry of the key with the one in the text.
    if ('isTimed' in request) request.isTimed = true;
    if (operation === CLOSE) lease.close(() => deliver(request, [[Kind.DONE, '']]));
    else if (operation === PAGE) runPage(request, ttl);
    // The aborted request itself has a flag.
    else if (operation === ABORT) deliver(request, [[Kind.DONE, '']]);
    else {
      lease.begin();
      const began = elapsed();
      /** @type {Complete} */
      const complete = (...completion) => {
        if (completion[0] !== Kind.CONFLICT) request.store.stats.record(NAMES[operation], elapsed() - began);
        deliver(request, [completion]);
        lease.end();
      };
      const { executor } = lease;
      const job = { scope: request, key: this.#keys.of(id), value, ttl, base, since };
      if (operation === GET || operation === GET_TIMED) read(executor, job, complete);
      else if (operation === SET_NEW) compareAndSet(executor, { ...job, base: undefined }, complete);
      else if (operation === SET_IF_EQUAL) compareAndSet(executor, job, complete);
      else if (operation === DESTROY_IF_EQUAL) compareAndDelete(executor, job, complete);
      else if (operation === LENGTH || operation === CLEAR) this.#scanAll(operation, request, complete);
      else write(executor, operation, job, complete);
    }
  }

  /** @type {(request: any, script: Script, calls: string[][], since?: number) => void} */
  addScript(request, script, calls, since = undefined) {
    const lease = this.#lease;
    const { executor } = lease;
    lease.begin();
    /** @type {unknown[]} */
    const replies = [];
    let pending = calls.length;
    const end = () => {
      const failures = replies.filter((reply) => !Array.isArray(reply));
      if (failures.length > 0)
        fail(executor, 'user index', failures[0], (...completion) => deliver(request, [completion]));
      else
        deliver(request, [
          ...replies.flat().map((text) => /** @type {Completion} */ ([Kind.ID, text])),
          [Kind.DONE, ''],
        ]);
      lease.end();
    };
    for (const [at, [key, ...args]] of calls.entries()) {
      const done = (/** @type {unknown} */ reply) => {
        replies[at] = reply;
        if (--pending === 0) end();
      };
      callScript(executor, request, script, this.#rootKeys.of(key), args, done, since);
    }
  }

  /** @type {(operation: number, request: BulkRequest, complete: Complete) => void} */
  #scanAll(operation, request, complete) {
    const [name, kind, run] =
      operation === Operation.LENGTH ? ['length', Kind.COUNT, count] : ['clear', Kind.DONE, clear];
    const scan = new KeyScan(this.#lease.executor, this.#keys, '*', this.#scanCount);
    scan.scope = request;
    request
      .runInAsyncScope(run, undefined, scan, () => request.isAborted)
      .then(
        (found) => complete(kind, '', found),
        (error) => complete(Kind.FAILED, failureText(error, name)),
      );
  }
}

/**
 * Completes a request in the next tick: its callback runs outside any promise, and may throw.
 *
 * @type {(request: Receiver, completions: Completion[]) => void}
 */
function deliver(request, completions) {
  nextTick(() => {
    for (const completion of completions) request.complete(...completion);
  });
}

/** Completes a request with the next page. @type {(request: Request, scan: InstanceType<typeof Scan>) => void} */
async function runPage(request, scan) {
  // The app's own time lies between the pages of a `scan`, so each counts; else, the first begins.
  if (scan.name === 'scan' || scan.began === 0) scan.began = elapsed();
  /** @type {Completion[]} */
  let page;
  try {
    page = await request.runInAsyncScope(scan.nextPage, scan, request);
  } catch (error) {
    page = [[Kind.FAILED, failureText(error, scan.name)]];
  }
  if (scan.name === 'scan' || page.at(-1)?.[0] !== Kind.MORE)
    request.store.stats.record(scan.name, elapsed() - scan.began);
  deliver(request, page);
  scan.release();
}

/** @param {unknown} error @param {string} operation */
function failureText(error, operation) {
  return (error instanceof Failure ? error : failures.internal(error)).textFor(operation);
}

module.exports = { ClientBackend };
