'use strict';

const { Operation } = require('../boundary/outbox.js');
const { Kind, Request } = require('../boundary/request.js');
const { inTime, isThenable, usesApp } = require('../common/app-functions.js');
const { nextTick, setImmediate } = require('../common/timers.js');
const { ownCopy } = require('./flat-copy.js');
const { putExpiry } = require('./expiry.js');

/**
 * What is given page by page: the next one is asked for when this one has been taken in and the event loop has
 * turned. Node calls the drain again without a turn if the answer is there soon enough, page after page.
 */
class Listing extends Request {
  constructor(store, callback, outbox, walk) {
    super(store, callback);
    this.outbox = outbox;
    this.walk = walk;
  }

  begin() {
    this.outbox.add(Operation.PAGE, this, '', '', this.walk.number);
  }

  complete(kind, text) {
    if (kind === Kind.MORE) setImmediate(() => this.begin());
    else super.complete(kind, text);
  }
}

/** Collects ids. */
class Ids extends Listing {
  ids = [];

  complete(kind, text) {
    if (kind === Kind.ID) this.ids.push(text);
    else if (kind === Kind.DONE) this.succeed(this.ids);
    else super.complete(kind, text);
  }
}

class Length extends Request {
  complete(kind, value) {
    if (kind === Kind.COUNT) this.succeed(value);
    else super.complete(kind, value);
  }
}

/** Collects sessions; what cannot be read as one is left out and counted. */
class All extends Listing {
  constructor(store, callback, outbox, walk, isTimed, timeout) {
    super(store, callback, outbox, walk);
    this.isTimed = isTimed;
    this.timeout = timeout;
  }

  sessions = [];
  corrupt = 0;
  id = '';
  /** Sessions that an asynchronous `parse` has yet to give. */
  pending = 0;
  hasGaps = false;
  #settleAll;

  complete(kind, text, ends) {
    if (kind === Kind.ID) this.id = ownCopy(text);
    else if (kind === Kind.ITEM) {
      if (text === '') return;
      if (this.isTimed && usesApp(this.store)) this.runInAsyncScope(this.#read, this, text, ends);
      else this.#read(text, ends);
    } else if (kind === Kind.TOO_LONG) this.corrupt++;
    else if (kind === Kind.DONE) this.#end();
    else super.complete(kind, text);
  }

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
      if (ends > 0) putExpiry(session, ends, this.isTimed, this.store);
      this.#add(id, session);
      return;
    }
    // Its place is kept, so that the order does not depend on which promise is settled first.
    const place = this.sessions.push(undefined) - 1;
    this.hasGaps = true;
    this.pending++;
    const settle = (value) => {
      if (ends > 0) putExpiry(value, ends, this.isTimed, this.store);
      this.#add(id, value, place);
      if (--this.pending === 0) this.#settleAll?.();
    };
    Promise.resolve(session).then(settle, () => settle(undefined));
  }

  #add(id, session, place = this.sessions.length) {
    // No primitive can be given an id, nor can a frozen object.
    if (session === null || typeof session !== 'object' || !Reflect.set(session, 'id', id)) {
      this.corrupt++;
      return;
    }
    this.sessions[place] = session;
  }

  /** All pages are there. What an app's `parse` still has to give gets as much time as a page. */
  #end() {
    if (this.pending === 0) {
      this.#give();
      return;
    }
    const settled = new Promise((resolve) => {
      this.#settleAll = resolve;
    });
    inTime(settled, this.timeout, 'all: serializer.parse').then(
      () => nextTick(() => this.#give()),
      (error) => nextTick(() => this.fail(error)),
    );
  }

  #give() {
    // Places that were kept for sessions and got none. Of a million without any, no second array is made.
    const sessions = this.hasGaps ? this.sessions.filter((session) => session !== undefined) : this.sessions;
    this.succeed(Object.defineProperty(sessions, 'corrupt', { value: this.corrupt }));
  }
}

module.exports = { Ids, Length, All };
