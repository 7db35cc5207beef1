'use strict';

const { Operation } = require('../boundary/outbox.js');
const { Kind, Request } = require('../boundary/request.js');
const { inTime, isThenable, thrown } = require('../common/app-functions.js');
const { elapsed, nextTick, setImmediate } = require('../common/timers.js');
const { ownCopy } = require('./copy.js');
const { corrupt } = require('./corrupt.js');
const { putExpiry } = require('./expiry.js');

/** Reads one session. */
class Get extends Request {
  /**
   * @param memory where it is kept that the session was loaded, if it is
   * @param isTimed the time when the session ends comes in any case, and is decided upon here
   * @param timeout of the operation, in ms
   */
  constructor(store, callback, id, memory, isTimed, timeout) {
    super(store, callback);
    this.id = id;
    this.memory = memory;
    this.isTimed = isTimed;
    this.timeout = timeout;
    /** When it was called, where a function of the app may read the session. */
    this.began = isTimed ? elapsed() : 0;
  }

  complete(kind, text, ends) {
    // An empty value is no session, as connect-redis has it.
    if (kind !== Kind.SESSION || text === '') super.complete(kind, text);
    else if (this.isTimed && usesApp(this.store)) this.runInAsyncScope(read, undefined, this, text, ends);
    else read(this, text, ends);
  }
}

/** Functions of the app may have a part in the reading. They are to run in the async context of the call. */
function usesApp({ serializer, ttl }) {
  return serializer !== JSON || typeof ttl === 'function';
}

/** Reads one session that is there already: its callback runs where `get` was called. */
class Hit {
  /** @param shown the expiry to be put into the session, 0 for none; not asked for where `isTimed` */
  constructor(store, callback, id, memory, isTimed, timeout, shown) {
    this.store = store;
    this.callback = callback;
    this.id = id;
    this.memory = memory;
    this.isTimed = isTimed;
    this.timeout = timeout;
    this.shown = shown;
  }

  complete(text, ends) {
    read(this, text, ends);
  }

  succeed(session) {
    const { callback } = this;
    callback(null, session);
  }

  fail(reason) {
    const { callback } = this;
    callback(thrown(reason), null);
  }
}

/** Makes a session of its text and gives it to who reads it, a Get or a Hit. */
function read(reader, text, ends) {
  const { serializer, prefix } = reader.store;
  let session;
  let failure;
  try {
    session = serializer.parse(text);
  } catch (error) {
    failure = { error: serializer === JSON ? corrupt('get', prefix, text) : error };
  }
  if (failure) reader.fail(failure.error);
  else if (isThenable(session))
    inTime(session, timeLeft(reader), 'get: serializer.parse').then(
      // Out of the promise's chain, where an error of the callback would be a rejection.
      (parsed) => nextTick(give, reader, parsed, text, ends),
      (error) => nextTick(() => reader.fail(error)),
    );
  else give(reader, session, text, ends);
}

/** Of an operation, in ms. A hit has all of its time. */
function timeLeft({ began, timeout }) {
  return began > 0 ? began + timeout - elapsed() : timeout;
}

function give(reader, session, text, ends) {
  const { store, id, memory, isTimed } = reader;
  const expiry = isTimed ? ends : (reader.shown ?? ends);
  if (expiry > 0) putExpiry(session, expiry, isTimed, store.ttl);
  if (memory !== undefined) memory.load(session, id, text, ends);
  reader.succeed(session);
}

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
    } else if (kind === Kind.DONE) this.#end();
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
      if (ends > 0) putExpiry(session, ends, this.isTimed, this.store.ttl);
      this.#add(id, session);
      return;
    }
    // Its place is kept, so that the order does not depend on which promise is settled first.
    const place = this.sessions.push(undefined) - 1;
    this.hasGaps = true;
    this.pending++;
    const settle = (value) => {
      if (ends > 0) putExpiry(value, ends, this.isTimed, this.store.ttl);
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

module.exports = { Get, Hit, Ids, Length, All };
