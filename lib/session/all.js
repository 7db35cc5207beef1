'use strict';

const { Operation } = require('../boundary/outbox.js');
const { Kind, Request } = require('../boundary/request.js');
const { withTimeout, isThenable, usesAppFunctions } = require('../common/app-functions.js');
const { nextTick, setImmediate } = require('../common/timers.js');
const { flatCopy } = require('./flat-copy.js');
const { applyExpiry } = require('./expiry.js');

/** @import { Backend, Callback, Complete, Cursor, Settings } from '../types.d.ts' */

/** A request for all sessions that has one completion. */
class BulkRequest extends Request {
  isAborted = false;

  /** @param {Settings} store @param {Callback} callback @param {Backend} outbox @param {string} operation */
  constructor(store, callback, outbox, operation) {
    super(store, callback, operation);
    this.outbox = outbox;
  }

  /** @param {number} operation */
  begin(operation) {
    this.number = this.outbox.add(operation, this);
    return this;
  }

  /** Aborts the operation: it reads, and deletes, nothing more than what is in flight. */
  close() {
    this.isAborted = true;
    this.outbox.add(Operation.ABORT, { complete() {} }, '', '', this.number);
  }
}

/**
 * A request whose results come in pages. It requests the next page after the event loop has turned: Node calls the
 * drain again without a turn if the reply arrives early enough, page after page.
 */
class PagedRequest extends Request {
  isClosed = false;
  /** @type {any[]} */
  results = [];

  /**
   * @param {Settings} store
   * @param {Callback} callback
   * @param {Backend} outbox
   * @param {Cursor} cursor
   * @param {string} operation
   */
  constructor(store, callback, outbox, cursor, operation) {
    super(store, callback, operation);
    this.outbox = outbox;
    this.cursor = cursor;
  }

  begin() {
    this.outbox.add(Operation.PAGE, this, '', '', this.cursor.number);
    return this;
  }

  /** Ends the scan, and drops its results. The next page is its last. */
  close() {
    this.isClosed = true;
    this.results = [];
    this.cursor.close();
  }

  /** @type {Complete} */
  complete(kind, text) {
    if (kind === Kind.MORE) setImmediate(() => this.begin());
    else super.complete(kind, text);
  }
}

/** Collects ids. */
class Ids extends PagedRequest {
  /** @param {Settings} store @param {Callback} callback @param {Backend} outbox @param {Cursor} cursor */
  constructor(store, callback, outbox, cursor) {
    super(store, callback, outbox, cursor, 'ids');
  }

  /** @type {Complete} */
  complete(kind, text, ends) {
    if (kind === Kind.ID) {
      if (!this.isClosed) this.results.push(text);
    } else if (kind === Kind.DONE) this.succeed(this.results);
    else super.complete(kind, text, ends);
  }
}

class Length extends BulkRequest {
  /** @type {Complete} */
  complete(kind, text, count) {
    if (kind === Kind.COUNT) this.succeed(count);
    else super.complete(kind, text);
  }
}

/** Collects sessions. Skips and counts records that cannot be read as one. */
class All extends PagedRequest {
  /**
   * @param {Settings} store
   * @param {Callback} callback
   * @param {Backend} outbox
   * @param {Cursor} cursor
   * @param {boolean} isTimed
   * @param {number} timeout
   */
  constructor(store, callback, outbox, cursor, isTimed, timeout) {
    super(store, callback, outbox, cursor, 'all');
    this.isTimed = isTimed;
    this.timeout = timeout;
  }

  corrupt = 0;
  id = '';
  /** The number of sessions that an asynchronous `parse` has not returned yet. */
  pending = 0;
  hasGaps = false;
  /** @type {((value?: unknown) => void) | undefined} */
  #resolveAll;

  /** @type {Complete} */
  complete(kind, text, ends) {
    if (kind === Kind.ID) this.id = flatCopy(text);
    else if (kind === Kind.ITEM) {
      if (text === '' || this.isClosed) return;
      if (this.isTimed && usesAppFunctions(this.store)) this.runInAsyncScope(this.#read, this, text, ends);
      else this.#read(text, ends);
    } else if (kind === Kind.TOO_LONG) this.corrupt++;
    else if (kind === Kind.DONE) this.#end();
    else super.complete(kind, text, ends);
  }

  /** @param {string} text @param {number} ends */
  #read(text, ends) {
    const { id } = this;
    let session;
    try {
      session = this.store.serializer.parse(text);
    } catch {
      this.corrupt++;
      return;
    }
    if (!isThenable(session)) {
      if (ends > 0) applyExpiry(session, ends, this.isTimed, this.store);
      if (this.#isAlive(id, session)) this.#add(id, session);
      return;
    }
    // Reserves its place, so that the order does not depend on which promise settles first.
    const place = this.results.push(undefined) - 1;
    this.hasGaps = true;
    this.pending++;
    const done = (/** @type {any} */ value) => {
      if (ends > 0) applyExpiry(value, ends, this.isTimed, this.store);
      if (this.#isAlive(id, value)) this.#add(id, value, place);
      if (--this.pending === 0) this.#resolveAll?.();
    };
    Promise.resolve(session).then(done, () => done(undefined));
  }

  /** Returns false if a session is over. One that no rule of the app can judge counts as corrupt. @param {string} id @param {any} session */
  #isAlive(id, session) {
    const { store } = this;
    if (store.lifetimes === undefined || session === null || typeof session !== 'object') return true;
    try {
      return store.lifetimes.isAlive(store, id, session);
    } catch {
      this.corrupt++;
      return false;
    }
  }

  /** @param {string} id @param {unknown} session */
  #add(id, session, place = this.results.length) {
    // A primitive or a frozen object cannot take an id.
    if (session === null || typeof session !== 'object' || !Reflect.set(session, 'id', id)) {
      this.corrupt++;
      return;
    }
    this.results[place] = session;
  }

  /** Ends after the last page. The promises of an app's `parse` that are still pending get the timeout of a page. */
  #end() {
    if (this.pending === 0) {
      this.#succeed();
      return;
    }
    const allParsed = new Promise((resolve) => {
      this.#resolveAll = resolve;
    });
    withTimeout(allParsed, this.timeout, 'all').then(
      () => nextTick(() => this.#succeed()),
      (error) => nextTick(() => this.fail(error)),
    );
  }

  #succeed() {
    // Removes the reserved places that stayed empty. Without any, a million sessions are not copied to a second array.
    const { results } = this;
    const sessions = this.hasGaps ? results.filter((session) => session !== undefined) : results;
    this.succeed(Object.defineProperty(sessions, 'corrupt', { value: this.corrupt }));
  }
}

module.exports = { BulkRequest, Ids, Length, All };
