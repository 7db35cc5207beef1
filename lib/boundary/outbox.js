'use strict';

const { tracing } = require('../observability/channels.js');
const { observedKinds } = require('../observability/connection-trace.js');
const { Backend } = require('./backend.js');
const { Kind } = require('./request.js');

/** @import { Backend as Runner, Completion, CompletionQueue, Native, Receiver, Text } from '../types.d.ts' */

/** The numbers of the operations, which src/requests.rs decodes. */
const Operation = {
  GET: 0,
  SET: 1,
  TOUCH: 2,
  DESTROY: 3,
  GET_TIMED: 4,
  SET_EXISTING: 5,
  SET_NEW: 6,
  SET_IF_EQUAL: 7,
  LENGTH: 8,
  CLEAR: 9,
  PAGE: 10,
  CLOSE: 11,
  ABORT: 12,
  SCRIPT: 13,
  DESTROY_IF_EQUAL: 14,
};

/** Added to the operation of a request whose trace is to be notified. */
const TRACED = 64;

/** The contents of a scan's pages: ids, sessions with their expiry if it differs, or always with their expiry. */
const ScanKind = { IDS: 0, SESSIONS: 1, SESSIONS_TIMED: 2 };

/**
 * Numbers per request: operation, slot of the request, bytes of the id, of the value and of the base, and the
 * lifetime in ms or, for a page, the number of its scan.
 */
const FIELDS = 6;
/**
 * A batch is submitted with this many requests, or when the tick ends. Large enough to share the cost of the call into
 * the addon; small enough that Redis runs the first batch while the event loop prepares the next.
 */
const MAX_REQUESTS = 64;
/**
 * It is submitted earlier with this many bytes, which fit into the cache of a CPU core, if it has as many requests as
 * make up for waking the runtime's thread: 3 to 10 µs, a tenth of `JSON.stringify` of 64 KB.
 */
const ENOUGH_BYTES = 128 * 1024;
const ENOUGH_REQUESTS = 4;
/** The size of the buffer that no session, however large, enlarges permanently. */
const MAX_BYTES = 1024 * 1024;
/** UTF-8 needs at most this many bytes for a UTF-16 unit. */
const BYTES_PER_UNIT = 3;

const resolved = Promise.resolve();

/** The outboxes with an open batch. No two of them may contain the same keys. @type {Outbox[]} */
const openOutboxes = [];
/** The maximum number of open batches, as each new one is compared with all. The oldest one is submitted. */
const MAX_OPEN = 32;

/** Submits the writes of this tick, of all stores with a cache, so that a cache lookup cannot miss them. */
function flushWrites() {
  for (let at = openOutboxes.length - 1; at >= 0; at--)
    if (openOutboxes[at].hasWrites) openOutboxes[at].flush();
}

/** Returns a text with its length in bytes in front, so that several can be joined. @param {string} text */
const pack = (text) => `${Buffer.byteLength(text)}:${text}`;

/**
 * Collects the requests of one store in a batch: writes them into buffers, and submits them to the addon in one call
 * when the tick ends.
 */
class Outbox extends Backend {
  #native;
  #heads = new Float64Array(FIELDS * MAX_REQUESTS);
  #bytes = Buffer.allocUnsafeSlow(4096);
  #count = 0;
  #used = 0;
  #scheduled = false;
  #completions;
  /** The connection has a cache, whose lookups must not miss earlier writes. */
  #tracksWrites;
  #connection;
  #clientPrefix;
  /** The kinds of observations that the addon reports. */
  #observed = observedKinds();
  /** The client's prefix and the store's: the start of all keys. */
  #keyPrefix;
  /** The open batch contains writes, and the connection has a cache. */
  hasWrites = false;
  #flush = () => {
    this.#scheduled = false;
    this.flush();
  };

  /**
   * @param {Native} native
   * @param {CompletionQueue} completions
   * @param {string} clientPrefix the key prefix of the app's client
   * @param {string} prefix
   */
  constructor(native, completions, clientPrefix, prefix) {
    super();
    this.#native = native;
    this.#completions = completions;
    this.#clientPrefix = clientPrefix;
    this.prefix = prefix;
    this.#keyPrefix = clientPrefix + prefix;
    this.#connection = native.connection;
    this.#tracksWrites = native.hasCache;
  }

  get server() {
    return this.#native.server;
  }

  reopen() {
    this.#native.reopen();
    this.#connection = this.#native.connection;
  }

  /** @param {Receiver} watcher */
  watch(watcher) {
    this.#observe();
    this.#native.watch(this.#completions.register(watcher));
  }

  /** Has the addon report what the debug log and the subscribers want at present, if that has changed. */
  #observe() {
    const kinds = observedKinds();
    if (kinds === this.#observed) return;
    this.#observed = kinds;
    this.#native.observe(kinds);
  }

  unwatch() {
    this.#native.unwatch();
  }

  /** @type {Runner['openScan']} */
  openScan(kind, match, scanCount) {
    return this.#native.openScan(kind, match, scanCount);
  }

  /** @param {number} count */
  setScanCount(count) {
    this.#native.setScanCount(count);
  }

  /** @param {string} prefix */
  setPrefix(prefix) {
    // The requests of this tick were issued under the old prefix.
    this.flush();
    super.setPrefix(prefix);
    this.#native.setPrefix(prefix);
    this.#keyPrefix = this.#clientPrefix + prefix;
  }

  /**
   * Adds a request to the batch. Returns its slot, which identifies it.
   *
   * @param {number} operation
   * @param {Receiver} request
   * @param {string} id
   * @param {Text} value
   * @param {number} ttl milliseconds, 0 for none; or the number of a scan, or of a request to abort
   * @param {Text} base the text that must be stored, for SET_IF_EQUAL and DESTROY_IF_EQUAL
   */
  add(operation, request, id = '', value = '', ttl = 0, base = '') {
    const trace = tracing.isActive ? request.trace : undefined;
    // Before anything changes: it runs subscribers.
    trace?.submitted(operation);
    const mostBytes = (id.length + value.length + base.length) * BYTES_PER_UNIT;
    if (this.#used + mostBytes > this.#bytes.length) this.#ensureCapacity(id, value, base, mostBytes);
    if (this.#count === 0) this.#openBatch();
    const slot = this.#completions.register(request);
    const idBytes = id === '' ? 0 : this.#bytes.write(id, this.#used, 'utf8');
    const valueBytes = value === '' ? 0 : this.#write(value, this.#used + idBytes);
    this.#used += idBytes + valueBytes;
    const baseBytes = base === '' ? 0 : this.#write(base, this.#used);
    this.#used += baseBytes;
    const at = this.#count++ * FIELDS;
    const heads = this.#heads;
    heads[at] = trace === undefined ? operation : operation | TRACED;
    heads[at + 1] = slot;
    heads[at + 2] = idBytes;
    heads[at + 3] = valueBytes;
    heads[at + 4] = baseBytes;
    heads[at + 5] = ttl;
    if (this.#tracksWrites && operation !== Operation.GET && operation !== Operation.GET_TIMED)
      this.hasWrites = true;
    if (this.#count === MAX_REQUESTS || (this.#used >= ENOUGH_BYTES && this.#count >= ENOUGH_REQUESTS))
      this.flush();
    else if (!this.#scheduled) {
      this.#scheduled = true;
      // During a drain of completions, the drain flushes at its end: earlier than a microtask would.
      if (!this.#completions.flushAfterDrain(this.#flush)) resolved.then(this.#flush);
    }
    return slot;
  }

  /** @type {Runner['addScript']} */
  addScript(request, { sha1, text }, calls) {
    let packed = '';
    for (const [key, ...args] of calls)
      packed += pack(pack(this.#clientPrefix + key) + args.map(pack).join(''));
    // The script itself is sent only if the server does not have it, or denies the call by its name.
    const complete = (/** @type {Completion} */ ...completion) => {
      const [kind, error] = completion;
      if (kind === Kind.FAILED && JSON.parse(error).code === 'ERR_REDIS_REPLY')
        this.add(Operation.SCRIPT, request, '', packed, 0, sha1 + text);
      else request.complete(...completion);
    };
    this.add(Operation.SCRIPT, { complete, trace: request.trace, store: request.store }, '', packed, 0, sha1);
  }

  /** Writes a string or a Buffer, and returns the number of bytes written. @param {Text} value @param {number} at */
  #write(value, at) {
    return typeof value === 'string' ? this.#bytes.write(value, at, 'utf8') : value.copy(this.#bytes, at);
  }

  /** Submits the batch. */
  flush() {
    if (this.#count === 0) return;
    this.#observe();
    const count = this.#count;
    this.#count = 0;
    this.#used = 0;
    this.hasWrites = false;
    openOutboxes.splice(openOutboxes.indexOf(this), 1);
    this.#native.submit(this.#heads, this.#bytes, count, Date.now());
    if (this.#bytes.length > MAX_BYTES) this.#bytes = Buffer.allocUnsafeSlow(ENOUGH_BYTES);
  }

  /**
   * Opens a batch. First submits those of other stores that may contain the same keys, to keep the order of the calls.
   */
  #openBatch() {
    for (let at = openOutboxes.length - 1; at >= 0; at--)
      if (this.#mayShareKeys(openOutboxes[at])) openOutboxes[at].flush();
    if (openOutboxes.length === MAX_OPEN) openOutboxes[0].flush();
    openOutboxes.push(this);
  }

  /** Returns true if both stores may use the same keys. @param {Outbox} other */
  #mayShareKeys(other) {
    return (
      other.#connection === this.#connection &&
      (other.#keyPrefix.startsWith(this.#keyPrefix) || this.#keyPrefix.startsWith(other.#keyPrefix))
    );
  }

  /**
   * Submits the batch or enlarges the buffer, so that one more request fits.
   *
   * @type {(id: string, value: Text, base: Text, mostBytes: number) => void}
   */
  #ensureCapacity(id, value, base, mostBytes) {
    let needed = mostBytes;
    // Counting the bytes takes up to 6 % of the time of `JSON.stringify`, so it is done only where memory matters.
    if (mostBytes > MAX_BYTES)
      needed = [id, value, base].reduce((sum, text) => sum + Buffer.byteLength(text), 0);
    if (this.#used + needed > MAX_BYTES) this.flush();
    const size = this.#used + needed;
    if (size <= this.#bytes.length) return;
    const bytes = Buffer.allocUnsafeSlow(Math.max(size, Math.min(2 * this.#bytes.length, ENOUGH_BYTES)));
    this.#bytes.copy(bytes, 0, 0, this.#used);
    this.#bytes = bytes;
  }
}

module.exports = { Operation, Outbox, ScanKind, flushWrites };
