'use strict';

const { jsonErrorPosition } = require('./native.js');
const { coded } = require('./errors.js');
const { Kind, Request } = require('./request.js');

/**
 * A text that JSON.parse refused. V8's own message quotes the text, which is a session: this error
 * says where instead, and has no cause.
 */
function corrupt(prefix, text) {
  const position = jsonErrorPosition(text) ?? undefined;
  const error = coded(
    Error,
    'ERR_SESSION_CORRUPT',
    `get: a session under the prefix ${JSON.stringify(prefix)} is not valid JSON` +
      (position === undefined ? '' : ` (at position ${position} of ${text.length})`),
  );
  if (position !== undefined) error.position = position;
  return error;
}

function isThenable(value) {
  return typeof value?.then === 'function';
}

/** Reads one session. */
class Get extends Request {
  complete(kind, text) {
    if (kind === Kind.SESSION && text !== '') this.#parse(text);
    // An empty value is no session, as connect-redis has it.
    else super.complete(kind, text);
  }

  #parse(text) {
    const { serializer, prefix } = this.store;
    let session;
    let failure;
    try {
      session = serializer.parse(text);
    } catch (error) {
      failure = { error: serializer === JSON ? corrupt(prefix, text) : error };
    }
    if (failure) this.fail(failure.error);
    else if (isThenable(session)) this.#await(session);
    else this.succeed(session);
  }

  #await(promise) {
    promise.then(
      // Out of the promise's chain, where an error of the callback would be a rejection.
      (session) => process.nextTick(() => this.succeed(session)),
      (error) => process.nextTick(() => this.fail(error)),
    );
  }
}

/** Collects ids. */
class Ids extends Request {
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
class All extends Request {
  sessions = [];
  corrupt = 0;
  id = '';
  /** Sessions that an asynchronous `parse` has yet to give. */
  pending = 0;
  ended = false;

  complete(kind, text) {
    if (kind === Kind.ID) this.id = text;
    else if (kind === Kind.ITEM) this.#read(text);
    else if (kind === Kind.DONE) {
      this.ended = true;
      this.#endIfComplete();
    } else super.complete(kind, text);
  }

  #read(text) {
    if (text === '') return;
    const { id } = this;
    let session;
    try {
      session = this.store.serializer.parse(text);
    } catch {
      this.corrupt++;
      return;
    }
    if (!isThenable(session)) {
      this.#add(id, session);
      return;
    }
    // Its place is kept, so that the order does not depend on which promise is settled first.
    const place = this.sessions.push(undefined) - 1;
    this.pending++;
    const settle = (value) => {
      this.#add(id, value, place);
      this.pending--;
      if (this.ended && this.pending === 0) process.nextTick(() => this.#endIfComplete());
    };
    session.then(settle, () => settle(undefined));
  }

  #add(id, session, place = this.sessions.length) {
    // No primitive can be given an id, nor can a frozen object.
    if (session === null || typeof session !== 'object' || !Reflect.set(session, 'id', id)) {
      this.corrupt++;
      return;
    }
    this.sessions[place] = session;
  }

  #endIfComplete() {
    if (this.pending > 0) return;
    const sessions = this.sessions.filter((session) => session !== undefined);
    this.succeed(Object.defineProperty(sessions, 'corrupt', { value: this.corrupt }));
  }
}

module.exports = { Get, Ids, Length, All };
