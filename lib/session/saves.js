'use strict';

const { Operation } = require('../boundary/outbox.js');
const { elapsed } = require('../common/timers.js');
const { isObserved } = require('../observability/session-events.js');
const { ConditionalSave } = require('./conditional-save.js');
const { isExpressSession } = require('./frameworks.js');
const { keyLifetime } = require('./lifetime.js');
const { ObservedSave, Save } = require('./write-requests.js');
const { isNew } = require('./session-identity.js');

/** @import { Callback, IndexedWrites, PreparedSave, SessionContext, SessionObject, SessionRecord, Text, User } from '../types.d.ts' */

/** The second half of `set`: sends saves. */
class Saves {
  #context;
  /** Undefined unless sessions are indexed. */
  #indexed;

  /** @param {SessionContext} context @param {IndexedWrites | undefined} indexed */
  constructor(context, indexed) {
    this.#context = context;
    this.#indexed = indexed;
  }

  /**
   * Sends a save that overwrites what others have stored. `isTracked`: the object is the session of this id, so that its
   * save is discarded once that is destroyed.
   *
   * @type {(sid: string, session: SessionObject, callback: Callback, record: SessionRecord | undefined,
   *   isTracked: boolean, text: Text, ttl: number) => void}
   */
  send(sid, session, callback, record, isTracked, text, ttl) {
    const context = this.#context;
    const { settings, registry, outbox } = context;
    const { touchAfter, knownEnds } = settings;
    const ends = touchAfter > 0 || knownEnds.isActive ? Date.now() + ttl : 0;
    const isFirst = record?.since === undefined;
    const isCreation = isFirst && isObserved(settings, 'created') && isNew(context, sid, session, record);
    let kept = record;
    if (record !== undefined) {
      record.ends = ends;
      record.since ??= 0;
    } else if (isTracked) kept = this.#remember(session, sid, ends);
    const mayBeGone = isTracked && !isFirst && !settings.saveDestroyed;
    const operation = mayBeGone ? Operation.SET_EXISTING : Operation.SET;
    const isSeen = isCreation || knownEnds.isActive;
    const save = new (isSeen ? ObservedSave : Save)(settings, callback, session, kept, registry, isFirst);
    if (isSeen) Object.assign(save, { id: sid, isCreation, ends });
    outbox.add(operation, save, sid, text, keyLifetime(ttl));
  }

  /** @type {(session: SessionObject, sid: string, ends: number) => SessionRecord} */
  #remember(session, sid, ends) {
    const since = isExpressSession(session) ? 0 : Date.now();
    return this.#context.registry.add(session, sid, undefined, ends, since);
  }

  /** Sends a save that detects conflicts, once those before it have ended. @param {PreparedSave} save @param {Callback} callback */
  sendConditionally(save, callback) {
    const begin = this.#conditional(save);
    if (this.#context.isLocked(save.sid)) this.#context.enqueue(save.sid, 'set', callback, begin);
    else begin(callback);
  }

  /**
   * Returns a function that begins a conditional save, whether or not the session is locked.
   *
   * @type {(save: PreparedSave) => (done: Callback) => void}
   */
  #conditional({ sid, session, record, isTracked, text, ttl, creation }) {
    const { settings, outbox, queue, timeout } = this.#context;
    const save = {
      outbox,
      queue,
      prefix: settings.prefix,
      session,
      record: record ?? this.#remember(session, sid, 0),
      text,
      ttl: keyLifetime(ttl),
      endsBy: creation?.endsBy ?? Number.POSITIVE_INFINITY,
      createdAt: creation?.createdAt,
      onConflict: settings.onConflict,
      isTracked,
      restoresDestroyed: settings.saveDestroyed || !isTracked,
      since: elapsed(),
      timeout,
    };
    return (done) => new ConditionalSave(this.#context.settings, done, save).begin();
  }

  /**
   * Returns true if a save can be sent at once: the session is in the indexes of its users.
   *
   * @type {(sid: string, record: SessionRecord | undefined, isTracked: boolean, ttl: number, users: User[]) => boolean}
   */
  isIndexed(sid, record, isTracked, ttl, users) {
    const context = this.#context;
    return (
      !context.settings.isConditional &&
      !context.isLocked(sid) &&
      this.#isCovered(sid, users, ttl, this.#needsSession(record, isTracked))
    );
  }

  /**
   * Returns true if a save stores nothing once the session, and with it perhaps the entry, is gone.
   *
   * @type {(record: SessionRecord | undefined, isTracked: boolean) => boolean}
   */
  #needsSession(record, isTracked) {
    return isTracked && record?.since !== undefined && !this.#context.settings.saveDestroyed;
  }

  /** Returns true if no entry has to be asserted. @type {(sid: string, users: User[], ttl: number, needsSession: boolean) => boolean} */
  #isCovered(sid, users, ttl, needsSession) {
    const indexed = /** @type {IndexedWrites} */ (this.#indexed);
    return users.length === 0 || (needsSession && indexed.covers(this.#context.settings, sid, users, ttl));
  }

  /** Sends a save once the session is in the indexes of its users. @param {PreparedSave} save @param {Callback} callback */
  sendIndexed(save, callback) {
    const context = this.#context;
    const { sid, session, record, isTracked, text, ttl, users } = save;
    const begin = context.settings.isConditional
      ? this.#conditional(save)
      : (/** @type {Callback} */ done) => this.send(sid, session, done, record, isTracked, text, ttl);
    const needsSession = this.#needsSession(record, isTracked);
    if (!this.#isCovered(sid, users, ttl, needsSession))
      this.#indexed?.save(sid, session, users, ttl, needsSession, callback, begin);
    else if (context.isLocked(sid)) context.enqueue(sid, 'set', callback, begin);
    else begin(callback);
  }
}

module.exports = { Saves };
