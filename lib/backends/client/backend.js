'use strict';

const { Operation, ScanKind } = require('../../boundary/outbox.js');
const { Kind } = require('../../boundary/request.js');
const { isIoredis, isMock } = require('../../clients/ioredis.js');
const { nextTick } = require('../../common/timers.js');
const { Backend } = require('../backend.js');
const { Failure, failures } = require('./errors.js');
const { Keys, keyPrefixOf } = require('./keys.js');
const { Lease } = require('./lease.js');
const { compareAndSet, read, write } = require('./operations.js');
const { Scan, clear, count } = require('./scan.js');

/** @import { ClientTarget, Completion, Executor } from '../../types.d.ts' */
/** @import { Receiver, Request, Text, Watcher } from '../../types.d.ts' */
/** @import { Complete, KeyOperation } from './operations.js' */

/** Runs the operations of a store on the app's client. */
class ClientBackend extends Backend {
  #client;
  /** The settings of the executor. */
  #settings;
  #lease;
  #clientPrefix;
  /** The client adds its own prefix to keys. */
  #addsPrefix;
  #keys;
  #scanCount;

  /** @param {ClientTarget} target @param {{ prefix: string, scanCount: number }} keys */
  constructor(target, { prefix, scanCount }) {
    super();
    const { client, name, command, readsFromReplicas, failsOffline } = target;
    const maxRetries = failsOffline ? 0 : target.maxRetries;
    const { commandTimeout, maxQueue } = target;
    this.#client = client;
    this.#settings = { name, command, readsFromReplicas, commandTimeout, maxQueue, maxRetries, failsOffline };
    this.#clientPrefix = keyPrefixOf(client);
    const callsMethods = command === 'call(command, ...args)' || command === 'command(...args)';
    this.#addsPrefix = callsMethods && (isIoredis(client) || isMock(client));
    this.#scanCount = scanCount;
    this.prefix = prefix;
    this.#keys = this.#keysUnder(prefix);
    this.#lease = new Lease(this, client, this.#settings);
  }

  /** Uses a new connection, or the present one if operations are in flight. `watch` has to be called again. */
  reopen() {
    this.#lease?.unwatch();
    this.#lease = new Lease(this, this.#client, this.#settings);
  }

  /** The name of the server in errors. */
  get server() {
    return this.#lease.executor.server;
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
    this.#keys = this.#keysUnder(prefix);
  }

  /** @param {string} prefix */
  #keysUnder(prefix) {
    return new Keys(this.#clientPrefix, prefix, this.#addsPrefix);
  }

  /** @param {number} count */
  setScanCount(count) {
    this.#scanCount = count;
  }

  /** Does nothing: each request is run when it is added. */
  flush() {}

  /**
   * Opens a scan of the sessions whose ids match a glob; a `ScanKind` selects the content of its pages.
   *
   * @param {number} kind
   * @param {string} match
   */
  openScan(kind, match, scanCount = this.#scanCount) {
    const lease = this.#lease;
    // An app may abandon this kind, so `close` does not wait for it.
    const isWaitedFor = kind !== ScanKind.SESSIONS_TIMED;
    if (isWaitedFor) lease.begin();
    return new Scan(lease.executor, this.#keys, kind, match, scanCount, () => {
      if (isWaitedFor) lease.end();
    });
  }

  /**
   * Runs an operation.
   *
   * @param {number} operation
   * @param {Request & { isTimed?: boolean }} request in whose async context the commands are sent
   * @param {string} id
   * @param {Text} value
   * @param {any} ttl milliseconds, 0 for none; or the number of a scan
   * @param {Text} base the text that must be stored, for SET_IF_EQUAL
   * @param {number} [since] the time of the call, by `elapsed`, if it is not now
   */
  add(operation, request, id = '', value = '', ttl = 0, base = '', since = undefined) {
    const lease = this.#lease;
    // Only the addon compares the expiry of the key with the one in the text.
    if ('isTimed' in request) request.isTimed = true;
    if (operation === Operation.CLOSE) lease.close(() => deliver(request, [[Kind.DONE, '']]));
    else if (operation === Operation.PAGE) runPage(request, ttl);
    else {
      lease.begin();
      const complete = (/** @type {Completion} */ ...completion) => {
        deliver(request, [completion]);
        lease.end();
      };
      const job = { scope: request, key: this.#keys.of(id), value, ttl, base, since };
      this.#run(operation, lease.executor, job, complete);
    }
  }

  /** @type {(operation: number, executor: Executor, job: KeyOperation, complete: Complete) => void} */
  #run(operation, executor, job, complete) {
    const { GET, GET_TIMED, SET_NEW, SET_IF_EQUAL, LENGTH, CLEAR } = Operation;
    if (operation === GET || operation === GET_TIMED) read(executor, job, complete);
    else if (operation === SET_NEW) compareAndSet(executor, { ...job, base: undefined }, complete);
    else if (operation === SET_IF_EQUAL) compareAndSet(executor, job, complete);
    else if (operation === LENGTH || operation === CLEAR) {
      const [name, kind, walk] =
        operation === LENGTH ? ['length', Kind.COUNT, count] : ['clear', Kind.DONE, clear];
      const walked = job.scope.runInAsyncScope(
        walk,
        undefined,
        executor,
        this.#keys,
        this.#scanCount,
        job.scope,
      );
      walked.then(
        (found) => complete(kind, '', found ?? 0),
        (error) => complete(Kind.FAILED, failureText(error, name)),
      );
    } else write(executor, operation, job, complete);
  }
}

/**
 * Completes a request in the next tick: its callback runs outside any promise, and may throw.
 *
 * @param {Receiver} request
 * @param {Completion[]} completions
 */
function deliver(request, completions) {
  nextTick(() => {
    for (const completion of completions) request.complete(...completion);
  });
}

/**
 * Completes a request with the next page of a scan.
 *
 * @param {Request} request
 * @param {InstanceType<typeof Scan>} scan
 */
async function runPage(request, scan) {
  try {
    deliver(request, await request.runInAsyncScope(scan.nextPage, scan, request));
  } catch (error) {
    deliver(request, [[Kind.FAILED, failureText(error, scan.name)]]);
  }
  scan.release();
}

/** @param {unknown} error @param {string} operation */
function failureText(error, operation) {
  return (error instanceof Failure ? error : failures.internal(error)).textFor(operation);
}

module.exports = { ClientBackend };
