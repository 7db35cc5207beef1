'use strict';

const { isDeepStrictEqual } = require('node:util');
const { coded, wrongType } = require('./errors.js');
const { Operation } = require('./outbox.js');
const { Kind, Request } = require('./request.js');

/**
 * Tells those who want to know that a save did nothing, since the session had been destroyed meanwhile.
 * After the callback: what a listener throws is its own affair.
 */
function tellDiscarded(store, id) {
  process.nextTick(() => store.emit('discarded', { operation: 'set', id }));
}

/** Saves a session without a look at what others saved. */
class Save extends Request {
  /** @param record of the session; undefined for an object that is not remembered */
  constructor(store, callback, session, record, memory, isFirst) {
    super(store, callback);
    this.session = session;
    this.record = record;
    this.memory = memory;
    this.isFirst = isFirst;
  }

  complete(kind, text) {
    if (kind === Kind.MISSING) tellDiscarded(this.store, this.record.id);
    // Nothing is known to be stored, so the next save may be the first again.
    else if (kind === Kind.FAILED && this.isFirst) this.memory.forget(this.session);
    super.complete(kind, text);
  }
}

/** Gives a session its lifetime anew, and remembers it. */
class Touch extends Request {
  constructor(store, callback, record, ends) {
    super(store, callback);
    this.record = record;
    this.ends = ends;
  }

  complete(kind, text) {
    this.record.ends = kind === Kind.DONE ? this.ends : 0;
    super.complete(kind, text);
  }
}

/**
 * Saves a session unless others have changed it since it was loaded: then `onConflict` decides. What
 * plain JSON can tell is decided in the addon, and atomically applied in Redis; this goes on where an
 * app's own function or serializer has a say.
 */
class GuardedSave extends Request {
  #deadline;

  constructor(store, callback, { outbox, session, record, text, ttl, onConflict, isRevived, timeout }) {
    super(store, callback);
    this.#deadline = Date.now() + timeout;
    this.outbox = outbox;
    this.session = session;
    this.record = record;
    this.text = text;
    this.ttl = ttl;
    this.onConflict = onConflict;
    this.isRevived = isRevived;
  }

  /** Begins now or, to keep the order, when the save of the same session object before it is over. */
  begin() {
    const { record } = this;
    if (record.saves === undefined) {
      record.saves = [];
      this.#send(record.base, this.text);
    } else record.saves.push(this);
  }

  #send(base, text) {
    const { outbox, record, ttl, onConflict } = this;
    let operation = Operation.SET_NEW;
    if (base !== undefined)
      operation = onConflict === 'merge' ? Operation.SET_MERGED : Operation.SET_UNCHANGED;
    outbox.add(operation, this, record.id, text, ttl, base);
  }

  complete(kind, text) {
    if (kind === Kind.CONFLICT) this.#conflict(text);
    else if (kind === Kind.MISSING && this.isRevived) this.#send(undefined, this.text);
    else {
      if (kind === Kind.DONE) {
        // What this request knows, not what was merged into it.
        this.record.base = this.text;
        this.record.ends = this.ttl > 0 ? Date.now() + this.ttl : 0;
      } else if (kind === Kind.MISSING) tellDiscarded(this.store, this.record.id);
      this.#next();
      super.complete(kind, text);
    }
  }

  /** Lets the next save of the session object begin. */
  #next() {
    const { record } = this;
    const next = record.saves.shift();
    if (next === undefined) record.saves = undefined;
    else next.#send(record.base, next.text);
  }

  #giveUp(error) {
    this.#next();
    this.fail(error);
  }

  #conflict(answer) {
    const end = answer.indexOf('\n');
    const reason = answer.slice(0, end);
    const stored = answer.slice(end + 1);
    if (this.store.serializer === JSON && typeof this.onConflict !== 'function') {
      // A revived session may be there again, for which there is a base.
      if (this.isRevived && this.record.base !== undefined && Date.now() < this.#deadline)
        this.#send(this.record.base, this.text);
      else this.#giveUp(conflict(reason, JSON.parse, stored));
      return;
    }
    this.#decide(reason, stored).then(
      (text) => process.nextTick(() => this.#send(stored, text)),
      (error) => process.nextTick(() => this.#giveUp(error)),
    );
  }

  /** The text to store in the place of `stored`. */
  async #decide(reason, stored) {
    const { store, session, onConflict, record } = this;
    const parse = (text) => store.serializer.parse(text);
    const theirs = await parse(stored);
    const base = record.base === undefined ? null : await parse(record.base);
    if (base !== null && isSameContent(base, theirs)) return this.text;
    if (typeof onConflict !== 'function' || Date.now() >= this.#deadline)
      throw conflict(reason, () => theirs, stored);
    const chosen = await this.runInAsyncScope(onConflict, undefined, base, theirs, session);
    if (chosen === null || typeof chosen !== 'object')
      throw wrongType('What the "onConflict" function returns', 'a session', chosen);
    const text = store.serializer.stringify(
      // The cookie is that of this request.
      chosen === session ? session : { ...chosen, cookie: session.cookie },
    );
    if (typeof text !== 'string') throw wrongType('What serializer.stringify returns', 'a string', text);
    return text;
  }
}

function isSameContent(one, other) {
  const content = (session) =>
    session !== null && typeof session === 'object' ? { ...session, cookie: undefined } : session;
  return isDeepStrictEqual(content(one), content(other));
}

/** The stored session is there for the app, and in no log. */
function conflict(reason, parse, stored) {
  const error = coded(Error, 'ERR_SESSION_CONFLICT', `set: the session was not saved: ${reason}`);
  let session;
  try {
    session = parse(stored);
  } catch {
    // What cannot be read cannot be given.
  }
  return Object.defineProperty(error, 'stored', { value: session, configurable: true, writable: true });
}

module.exports = { Save, Touch, GuardedSave };
