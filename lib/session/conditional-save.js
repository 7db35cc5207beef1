'use strict';

const { isDeepStrictEqual } = require('node:util');
const { Operation } = require('../boundary/outbox.js');
const { Kind, Request } = require('../boundary/request.js');
const { coded, wrongType } = require('../common/errors.js');
const { clearTimeout, elapsed, nextTick, setTimeout } = require('../common/timers.js');
const { corrupt } = require('./corrupt.js');
const { UNKNOWN_BASE } = require('./registry.js');
const { DISCARDED, emitDiscarded } = require('./save.js');
const { stringify } = require('./stringify.js');

/** The maximum number of unconfirmed saves that a record keeps. The oldest is dropped. */
const MAX_UNCONFIRMED = 16;

/**
 * Saves a session unless it has changed in Redis since it was loaded; then `onConflict` decides. The addon resolves
 * conflicts of plain JSON, and applies the result atomically in Redis; this class resolves those that need an app's
 * function or serializer.
 *
 * It holds the lock of its session from `begin` to its end, and uses the prefix that was set when it was called.
 */
class ConditionalSave extends Request {
  #deadline;
  /** Enforces the deadline once app functions take part, which the addon cannot time out. */
  #timer;
  #isOver = false;
  /** The text that the pending attempt expects, and the one that it stores, unless the addon merges. */
  #expected;
  #sent;
  #isInFlight = false;
  /** The pending attempt restores a destroyed session. */
  #isReviving = false;

  /** @param since the time of the call, by `elapsed` */
  constructor(
    store,
    callback,
    { outbox, queue, prefix, session, record, text, ttl, onConflict, restoresDestroyed, since, timeout },
  ) {
    super(store, callback);
    this.#deadline = since + timeout;
    this.timeout = timeout;
    this.outbox = outbox;
    this.queue = queue;
    this.prefix = prefix;
    this.key = prefix + record.id;
    this.session = session;
    this.record = record;
    this.text = text;
    this.ttl = ttl;
    this.onConflict = onConflict;
    this.restoresDestroyed = restoresDestroyed;
  }

  begin() {
    this.queue.lock(this.key);
    const { base, unconfirmed } = this.record;
    // An unconfirmed save may have succeeded. This is resolved before a merge: keys that this request has changed back
    // since that save would count as unchanged.
    this.#send(base !== undefined && unconfirmed !== undefined ? UNKNOWN_BASE : base);
  }

  #send(base, text = this.text) {
    const { outbox, prefix, record, ttl, onConflict } = this;
    this.#expected = base;
    this.#sent = text;
    this.#isInFlight = true;
    let operation = Operation.SET_NEW;
    if (base !== undefined)
      operation = onConflict === 'merge' ? Operation.SET_MERGED : Operation.SET_UNCHANGED;
    outbox.withPrefix(prefix, () => outbox.add(operation, this, record.id, text, ttl, base));
  }

  complete(kind, text) {
    if (this.#isOver) return;
    this.#isInFlight = kind === Kind.FAILED;
    if (kind === Kind.CONFLICT) this.#conflict(text);
    else if (kind === Kind.MISSING && this.#mayRevive) {
      this.#isReviving = true;
      this.#setTimer();
      this.#send(undefined);
    } else this.#end(kind, text);
  }

  get #mayRevive() {
    return !this.#isReviving && (this.restoresDestroyed || this.record.since === undefined);
  }

  #end(kind, text) {
    const { record, queue, key } = this;
    if (kind === Kind.DONE) {
      // The request's own version, without the keys that were merged into it.
      record.base = this.text;
      record.unconfirmed = undefined;
      record.since ??= 0;
      record.ends = this.ttl > 0 ? Date.now() + this.ttl : 0;
    } else {
      record.ends = 0;
      if (kind === Kind.MISSING) this.runInAsyncScope(emitDiscarded, undefined, this.store, record.id);
    }
    this.#close();
    queue.unlock(key);
    if (kind === Kind.MISSING) this.succeed(DISCARDED);
    else super.complete(kind, text);
  }

  #abort(error) {
    if (this.#isOver) return;
    this.#close();
    this.queue.unlock(this.key);
    this.fail(error);
  }

  #close() {
    this.#isOver = true;
    clearTimeout(this.#timer);
    // An attempt without a reply may have succeeded.
    if (this.#isInFlight) this.#noteUnconfirmed();
  }

  #noteUnconfirmed() {
    const { record, text } = this;
    record.unconfirmed ??= [];
    record.unconfirmed.push({ stored: this.#sent, known: text });
    if (record.unconfirmed.length > MAX_UNCONFIRMED) record.unconfirmed.shift();
  }

  #setTimer() {
    this.#timer ??= setTimeout(
      () => this.#abort(this.#timeoutError()),
      Math.max(0, this.#deadline - elapsed()),
    );
  }

  #isLate() {
    return elapsed() >= this.#deadline;
  }

  #timeoutError() {
    return conflict(`nothing was decided within ${this.timeout} ms`);
  }

  /** Handles a conflict, whose text is the reason and the stored session. */
  #conflict(text) {
    const { store, record, onConflict } = this;
    const end = text.indexOf('\n');
    const reason = text.slice(0, end);
    const stored = text.slice(end + 1);
    if (this.#expected !== undefined && stored === String(this.#expected)) {
      // Decoded to a JavaScript string, the stored bytes equal the expected text; sent back, they never would.
      this.#abort(conflict('what is stored is not UTF-8', JSON.parse, stored));
    } else if (stored !== '' && this.#confirms(stored)) {
      // Stored by an earlier save of this object, whose reply was lost.
      this.#send(record.base);
    } else if (this.#isReviving && record.base !== undefined) {
      // The session was stored again in the meantime, so the base applies.
      this.#isReviving = false;
      this.#send(record.base);
    } else if (this.#expected === UNKNOWN_BASE && record.base) this.#send(record.base);
    else if (stored === '' || (store.serializer === JSON && typeof onConflict !== 'function'))
      this.#abort(conflict(reason, JSON.parse, stored));
    else {
      this.#setTimer();
      this.runInAsyncScope(() => this.#decide(reason, stored)).then(
        (text) => nextTick(() => this.#isOver || this.#send(stored, text)),
        // A function that waits for an operation on this session fails when that one times out: not before we do.
        (error) => nextTick(() => this.#abort(this.#isLate() ? this.#timeoutError() : error)),
      );
    }
  }

  /** Returns true if an unconfirmed save wrote the stored text. The version that it saved becomes the base. */
  #confirms(stored) {
    const { record } = this;
    const save = record.unconfirmed?.find((unconfirmed) => String(unconfirmed.stored) === stored);
    if (save === undefined) return false;
    record.base = save.known;
    record.unconfirmed = undefined;
    return true;
  }

  /** Returns the text to store in place of `stored`. */
  async #decide(reason, stored) {
    const { session, onConflict, record } = this;
    const theirs = await this.#parse(stored);
    const base = record.base ? await this.#parse(record.base) : null;
    const mine = await this.#parse(this.text);
    // The stored session is unchanged, or has the same changes.
    if ((base !== null && isSameContent(base, theirs)) || isSameContent(mine, theirs)) return this.text;
    // This request has changed nothing.
    if (base !== null && isSameContent(base, mine)) return this.#stringify(theirs);
    if (typeof onConflict !== 'function') throw conflict(reason, () => theirs, stored);
    const chosen = await onConflict(base, theirs, session);
    if (chosen === null || typeof chosen !== 'object')
      throw wrongType('What the "onConflict" function returns', 'a session', chosen);
    return this.#stringify(chosen);
  }

  #stringify(chosen) {
    const { store, session } = this;
    // The cookie is always that of this request.
    return stringify(store.serializer, chosen === session ? session : { ...chosen, cookie: session.cookie });
  }

  async #parse(text) {
    const { serializer } = this.store;
    try {
      return await serializer.parse(String(text));
    } catch (error) {
      throw serializer === JSON ? corrupt('set', this.prefix, text) : error;
    }
  }
}

function isSameContent(one, other) {
  const content = (session) =>
    session !== null && typeof session === 'object' ? { ...session, cookie: undefined } : session;
  return isDeepStrictEqual(content(one), content(other));
}

/** Creates the error of a conflict. Its `stored` is not enumerable, so that loggers skip the session. */
function conflict(reason, parse = () => undefined, stored = '') {
  const error = coded(Error, 'ERR_SESSION_CONFLICT', `set: the session was not saved: ${reason}`);
  let session;
  try {
    session = parse(stored);
  } catch {
    // A session that cannot be parsed stays undefined.
  }
  return Object.defineProperty(error, 'stored', { value: session, configurable: true, writable: true });
}

module.exports = { ConditionalSave };
