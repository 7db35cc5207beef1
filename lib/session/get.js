'use strict';

const { Kind, Request } = require('../boundary/request.js');
const { inTime, isThenable, thrown, usesApp } = require('../common/app-functions.js');
const { elapsed, nextTick } = require('../common/timers.js');
const { corrupt } = require('./corrupt.js');
const { putExpiry } = require('./expiry.js');

/** Reads one session. */
class Get extends Request {
  /**
   * @param registry what knows that the session was loaded; undefined if nothing is to know it
   * @param keepsId that `get` returned the id is remembered, too
   * @param isTimed the time when the session ends comes in any case, and is decided upon here
   * @param timeout of the operation, in ms
   */
  constructor(store, callback, id, registry, keepsId, isTimed, timeout) {
    super(store, callback);
    this.id = id;
    this.registry = registry;
    this.keepsId = keepsId;
    this.isTimed = isTimed;
    this.timeout = timeout;
    /** When it was called, where a function of the app may read the session. */
    this.began = isTimed ? elapsed() : 0;
  }

  complete(kind, text, ends) {
    // An empty value is no session, as connect-redis has it.
    if (kind !== Kind.SESSION || text === '') {
      if (kind !== Kind.FAILED) this.registry?.noteMissing(this.id);
      super.complete(kind, text);
    } else if (this.isTimed && usesApp(this.store)) this.runInAsyncScope(read, undefined, this, text, ends);
    else read(this, text, ends);
  }

  /** Its callback runs in no other one. */
  get isNested() {
    return false;
  }
}

/** Reads one session that is there already: its callback runs where `get` was called. */
class Hit {
  /** @param shown the expiry to be put into the session, 0 for none; not asked for where `isTimed` */
  constructor(store, callback, id, registry, keepsId, isTimed, timeout, shown) {
    this.store = store;
    this.callback = callback;
    this.id = id;
    this.registry = registry;
    this.keepsId = keepsId;
    this.isTimed = isTimed;
    this.timeout = timeout;
    this.shown = shown;
  }

  complete(text, ends) {
    read(this, text, ends);
  }

  /** Its callback may run in that of another read. */
  get isNested() {
    return true;
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
  const { store, id, registry, keepsId, isTimed, isNested } = reader;
  const expiry = isTimed ? ends : (reader.shown ?? ends);
  if (expiry > 0) putExpiry(session, expiry, isTimed, store);
  if (registry === undefined) reader.succeed(session);
  else {
    const handover = registry.hand(id, session, text, ends, keepsId, isNested);
    reader.succeed(session);
    registry.handed(handover);
  }
}

module.exports = { Get, Hit };
