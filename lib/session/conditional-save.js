'use strict';

const { isDeepStrictEqual } = require('node:util');
const { Operation } = require('../boundary/outbox.js');
const { Kind, Request } = require('../boundary/request.js');
const { coded, wrongType } = require('../common/errors.js');
const { clearTimeout, elapsed, nextTick, setTimeout } = require('../common/timers.js');
const { corrupt } = require('./corrupt.js');
const { UNKNOWN } = require('./registry.js');
const { DISCARDED, tellDiscarded } = require('./save.js');
const { stringify } = require('./stringify.js');

/** Of the saves of a session object that were not answered, the last that are remembered. */
const MOST_UNSURE = 16;

/**
 * Saves a session unless others have changed it since it was loaded: then `onConflict` decides. What
 * plain JSON can tell is decided in the addon, and atomically applied in Redis; this goes on where an
 * app's own function or serializer has a say.
 *
 * It has the turn of its session from `begin` to its end, and goes to the prefix that was set when it was asked for.
 */
class ConditionalSave extends Request {
  #deadline;
  /** Set once others than the addon have a say, who know of no deadline. */
  #timer;
  #isOver = false;
  /** What the attempt under way is compared with, and what it stores, unless the addon merges. */
  #expected;
  #sent;
  #isUnderWay = false;
  /** The attempt under way is for a session that was destroyed and is to come back. */
  #isReviving = false;

  /** @param since when the app asked for it, as `elapsed` gives it */
  constructor(
    store,
    callback,
    { outbox, queue, prefix, session, record, text, ttl, onConflict, isRevived, since, timeout },
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
    this.isRevived = isRevived;
  }

  begin() {
    this.queue.take(this.key);
    const { base, unsure } = this.record;
    // Whether a save that was not answered has succeeded is to be seen before anything is merged: what this request
    // has changed back since would count as left alone.
    this.#send(base !== undefined && unsure !== undefined ? UNKNOWN : base);
  }

  #send(base, text = this.text) {
    const { outbox, prefix, record, ttl, onConflict } = this;
    this.#expected = base;
    this.#sent = text;
    this.#isUnderWay = true;
    let operation = Operation.SET_NEW;
    if (base !== undefined)
      operation = onConflict === 'merge' ? Operation.SET_MERGED : Operation.SET_UNCHANGED;
    outbox.under(prefix, () => outbox.add(operation, this, record.id, text, ttl, base));
  }

  complete(kind, text) {
    if (this.#isOver) return;
    this.#isUnderWay = kind === Kind.FAILED;
    if (kind === Kind.CONFLICT) this.#conflict(text);
    else if (kind === Kind.MISSING && this.#mayRevive) {
      this.#isReviving = true;
      this.#setTimer();
      this.#send(undefined);
    } else this.#end(kind, text);
  }

  get #mayRevive() {
    return !this.#isReviving && (this.isRevived || this.record.since === undefined);
  }

  #end(kind, text) {
    const { record, queue, key } = this;
    if (kind === Kind.DONE) {
      // What this request knows, not what was merged into it.
      record.base = this.text;
      record.unsure = undefined;
      record.since ??= 0;
      record.ends = this.ttl > 0 ? Date.now() + this.ttl : 0;
    } else {
      record.ends = 0;
      if (kind === Kind.MISSING) this.runInAsyncScope(tellDiscarded, undefined, this.store, record.id);
    }
    this.#leave();
    queue.leave(key);
    if (kind === Kind.MISSING) this.succeed(DISCARDED);
    else super.complete(kind, text);
  }

  #giveUp(error) {
    if (this.#isOver) return;
    this.#leave();
    this.queue.leave(this.key);
    this.fail(error);
  }

  #leave() {
    this.#isOver = true;
    clearTimeout(this.#timer);
    // An attempt that was not answered may have succeeded.
    if (this.#isUnderWay) this.#beUnsure();
  }

  #beUnsure() {
    const { record, text } = this;
    record.unsure ??= [];
    record.unsure.push({ stored: this.#sent, known: text });
    if (record.unsure.length > MOST_UNSURE) record.unsure.shift();
  }

  #setTimer() {
    this.#timer ??= setTimeout(
      () => this.#giveUp(this.#undecided()),
      Math.max(0, this.#deadline - elapsed()),
    );
  }

  #isLate() {
    return elapsed() >= this.#deadline;
  }

  #undecided() {
    return conflict(`nothing was decided within ${this.timeout} ms`);
  }

  #conflict(answer) {
    const { store, record, onConflict } = this;
    const end = answer.indexOf('\n');
    const reason = answer.slice(0, end);
    const stored = answer.slice(end + 1);
    if (this.#expected !== undefined && stored === String(this.#expected)) {
      // Texts come here as JavaScript has them, so what is compared is never what is stored.
      this.#giveUp(conflict('what is stored is not UTF-8', JSON.parse, stored));
    } else if (stored !== '' && this.#knows(stored)) {
      // A save of this very object, whose answer was lost.
      this.#send(record.base);
    } else if (this.#isReviving && record.base !== undefined) {
      // There again meanwhile, and for what is there, there is a base.
      this.#isReviving = false;
      this.#send(record.base);
    } else if (this.#expected === UNKNOWN && record.base) this.#send(record.base);
    else if (stored === '' || (store.serializer === JSON && typeof onConflict !== 'function'))
      this.#giveUp(conflict(reason, JSON.parse, stored));
    else {
      this.#setTimer();
      this.runInAsyncScope(() => this.#decide(reason, stored)).then(
        (text) => nextTick(() => this.#isOver || this.#send(stored, text)),
        // A function that waits for this very session fails when its own time is over: no sooner than ours.
        (error) => nextTick(() => this.#giveUp(this.#isLate() ? this.#undecided() : error)),
      );
    }
  }

  /** Whether what is stored is of a save that was not answered: what that one knew is the base from here on. */
  #knows(stored) {
    const { record } = this;
    const save = record.unsure?.find((unsure) => String(unsure.stored) === stored);
    if (save === undefined) return false;
    record.base = save.known;
    record.unsure = undefined;
    return true;
  }

  /** The text to store in the place of `stored`. */
  async #decide(reason, stored) {
    const { session, onConflict, record } = this;
    const theirs = await this.#parse(stored);
    const base = record.base ? await this.#parse(record.base) : null;
    const mine = await this.#parse(this.text);
    // Others have changed nothing, or the same.
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
    // The cookie is that of this request.
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

/** The stored session is there for the app, if it is known, and in no log. */
function conflict(reason, parse = () => undefined, stored = '') {
  const error = coded(Error, 'ERR_SESSION_CONFLICT', `set: the session was not saved: ${reason}`);
  let session;
  try {
    session = parse(stored);
  } catch {
    // What cannot be read cannot be given.
  }
  return Object.defineProperty(error, 'stored', { value: session, configurable: true, writable: true });
}

module.exports = { ConditionalSave };
