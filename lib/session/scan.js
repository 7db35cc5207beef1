'use strict';

const { Operation } = require('../boundary/outbox.js');
const { Kind, Request } = require('../boundary/request.js');
const { toPromise } = require('../callbacks.js');
const { withTimeout, isThenable, asError } = require('../common/app-functions.js');
const { storeClosed } = require('../common/store-error.js');
const { flatCopy } = require('./flat-copy.js');
const { corrupt, noSession, tooLong } = require('./corrupt.js');
const { NEVER, applyExpiry } = require('./expiry.js');

/** @import { ScanEntry } from '../../index.js' */
/** @import { Backend, Callback, Complete, Cursor, Settings, Tracer } from '../types.d.ts' */

/** @typedef {{ id: string, text: string | undefined, ends: number }} PageRecord */

/** Collects the records of one page. */
class Page extends Request {
  /** @type {PageRecord[]} */
  records = [];
  id = '';

  /** @type {Complete} */
  complete(kind, text, ends) {
    if (kind === Kind.ID) this.id = flatCopy(text);
    else if (kind === Kind.ITEM) this.records.push({ id: this.id, text, ends });
    else if (kind === Kind.TOO_LONG) this.records.push({ id: this.id, text: undefined, ends: 0 });
    else if (kind === Kind.FAILED) super.complete(kind, text);
    else this.succeed({ records: this.records, isLast: kind === Kind.DONE });
  }
}

/**
 * Reads the next page, in a trace of its own: one of the whole scan would measure the app's loop as well.
 *
 * @type {(store: Settings, outbox: Backend, cursor: Cursor, tracer: Tracer) =>
 *   Promise<{ records: PageRecord[], isLast: boolean }>}
 */
function nextPage(store, outbox, { number }, tracer) {
  const add = (/** @type {Callback} */ done) =>
    outbox.add(Operation.PAGE, new Page(store, done, 'scan'), '', '', number);
  return toPromise((done) => tracer.run('scan', undefined, done, add));
}

/**
 * Returns a promise that settles like `promise`, or rejects with the signal's reason if that is aborted first.
 *
 * @type {<T>(promise: Promise<T>, signal: AbortSignal | undefined) => Promise<T>}
 */
function abortable(promise, signal) {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    const leave = () => signal.removeEventListener('abort', abort);
    promise.then(resolve, reject).then(leave);
    if (signal.aborted) abort();
  });
}

/**
 * Returns the iterator's entry for a record. If it cannot be read, `session` is null and `error` is the reason. Returns
 * undefined for a session that is over.
 *
 * @type {(store: Settings, record: PageRecord, timeout: number, signal: AbortSignal | undefined) =>
 *   Promise<ScanEntry | undefined>}
 */
async function entryOf(store, { id, text, ends }, timeout, signal) {
  // Computed when the entry is requested: part of the lifetime may have passed since the page was read.
  let ttl = ends === NEVER || ends === 0 ? null : Math.max(0, ends - Date.now()) / 1000;
  const { serializer, prefix } = store;
  if (text === undefined) return { id, session: null, ttl, error: tooLong('scan', prefix) };
  let session;
  try {
    session = serializer.parse(text);
    if (isThenable(session)) {
      const parsed = abortable(Promise.resolve(session), signal);
      session = await withTimeout(parsed, timeout, 'scan');
    }
  } catch (error) {
    signal?.throwIfAborted();
    return {
      id,
      session: null,
      ttl,
      error: serializer === JSON ? corrupt('scan', prefix, text) : asError(error),
    };
  }
  if (session === null || typeof session !== 'object')
    return { id, session: null, ttl, error: noSession('scan', prefix) };
  if (ends > 0) applyExpiry(session, ends, true, store);
  const { lifetimes } = store;
  if (lifetimes !== undefined) {
    try {
      if (!lifetimes.isAlive(store, id, session)) return undefined;
      const remaining = lifetimes.remainingOf(store, id, session) / 1000;
      if (remaining < (ttl ?? Number.POSITIVE_INFINITY)) ttl = Math.max(0, remaining);
    } catch (error) {
      return { id, session: null, ttl, error: /** @type {Error} */ (asError(error)) };
    }
  }
  return { id, session, ttl };
}

/**
 * Iterates over sessions. Requests each page when the previous one is used up, or with `readsAhead` when that arrives;
 * leaving the loop ends the scan.
 *
 * @param {Settings} store
 * @param {Backend} outbox
 * @param {object} options
 * @param {() => Cursor} options.open begins the scan and returns its cursor
 * @param {() => boolean} options.isClosed
 * @param {number} options.timeout for each page, and for each session that an app's function reads, in ms
 * @param {AbortSignal} [options.signal]
 * @param {boolean} [options.readsAhead]
 * @param {Tracer} options.tracer
 */
async function* scan(store, outbox, { open, isClosed, timeout, signal, readsAhead = false, tracer }) {
  signal?.throwIfAborted();
  if (isClosed()) throw storeClosed('scan');
  const cursor = open();
  try {
    const request = () => {
      const page = abortable(nextPage(store, outbox, cursor, tracer), signal);
      // It may be awaited later: until then, a rejection must not count as unhandled.
      page.catch(() => {});
      return page;
    };
    /** @type {ReturnType<typeof request> | undefined} */
    let ahead;
    let isLast = false;
    while (!isLast) {
      if (isClosed()) throw storeClosed('scan');
      const page = await (ahead ?? request());
      isLast = page.isLast;
      ahead = readsAhead && !isLast ? request() : undefined;
      for (const record of page.records) {
        // An empty value is no session.
        const entry = record.text === '' ? undefined : await entryOf(store, record, timeout, signal);
        if (entry !== undefined) yield entry;
        signal?.throwIfAborted();
      }
    }
  } finally {
    cursor.close();
  }
}

module.exports = { entryOf, scan };
