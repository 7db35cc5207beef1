'use strict';

const { Kind, Request } = require('../boundary/request.js');
const { fromNative } = require('../common/store-error.js');
const { announceGone, announceOf } = require('../observability/session-events.js');

/** @import { Callback, Complete, Request as Requested, SessionObject, SessionRecord, SessionRegistry, Settings } from '../types.d.ts' */

/** The result of a save that stored nothing, because the session was destroyed after it was loaded. */
const DISCARDED = 'discarded';

/** Saves a session, overwriting changes of others. */
class Save extends Request {
  /**
   * @param {Settings} store
   * @param {Callback} callback
   * @param {SessionObject} session
   * @param {SessionRecord | undefined} record undefined for an object that the registry does not track
   * @param {SessionRegistry} registry
   * @param {boolean} isFirst
   */
  constructor(store, callback, session, record, registry, isFirst) {
    super(store, callback, 'set');
    this.session = session;
    this.record = record;
    this.registry = registry;
    this.isFirst = isFirst;
  }

  /** @type {Complete} */
  complete(kind, text) {
    if (kind === Kind.MISSING && this.record !== undefined) this.#missing(this.record);
    else {
      if (kind === Kind.FAILED) this.#failed(text);
      super.complete(kind, text);
    }
  }

  /** @param {SessionRecord} record */
  #missing(record) {
    if (record.failure !== undefined) {
      // The session was not destroyed but never stored: an earlier save, which should have done so, failed.
      this.fail(fromNative(record.failure));
      return;
    }
    record.ends = 0;
    announceGone(this, 'set', record.id);
    announceOf(this, 'discarded', 'set', record.id);
    this.succeed(DISCARDED);
  }

  /** @param {string} text */
  #failed(text) {
    const { record, registry, session } = this;
    if (record === undefined) return;
    record.ends = 0;
    if (!this.isFirst) return;
    // The session is not known to be stored, so the next save counts as the first.
    record.failure = text;
    registry.remove(session, record);
  }
}

/** A save after which `created` may have to be emitted, or the session's end noted. */
class ObservedSave extends Save {
  id = '';
  isCreation = false;
  /** The expiry that the save sets. */
  ends = 0;

  /** @type {Complete} */
  complete(kind, text, number) {
    const { store, id, isCreation, ends } = this;
    if (kind === Kind.DONE) {
      store.knownEnds.note(store, id, ends);
      if (isCreation) announceOf(this, 'created', 'set', id);
    }
    super.complete(kind, text, number);
  }
}

/** Renews the lifetime of a session, and notes it. */
class Touch extends Request {
  /**
   * @param {Settings} store
   * @param {Callback} callback
   * @param {string} id
   * @param {SessionRecord | undefined} record
   * @param {number} ends
   */
  constructor(store, callback, id, record, ends) {
    super(store, callback, 'touch');
    this.id = id;
    this.record = record;
    this.ends = ends;
  }

  /** @type {Complete} */
  complete(kind, text) {
    const { store, id, record, ends } = this;
    if (record !== undefined) record.ends = kind === Kind.DONE ? ends : 0;
    if (kind === Kind.DONE) store.knownEnds.note(store, id, ends);
    else if (kind === Kind.MISSING) announceGone(this, 'touch', id);
    super.complete(kind, text);
  }
}

/** Notes that a request has destroyed a session. @param {Requested} request @param {string} id */
function noteDestroyed(request, id) {
  request.store.knownEnds.forget(request.store, id);
  announceOf(request, 'destroyed', 'destroy', id);
}

class Destroy extends Request {
  /** @param {Settings} store @param {Callback} callback @param {string} id */
  constructor(store, callback, id) {
    super(store, callback, 'destroy');
    this.id = id;
  }

  /** @type {Complete} */
  complete(kind, text) {
    const { store, id } = this;
    if (kind === Kind.DONE) noteDestroyed(this, id);
    else if (kind !== Kind.FAILED) store.knownEnds.forget(store, id);
    super.complete(kind, text);
  }
}

module.exports = { DISCARDED, Destroy, ObservedSave, Save, Touch, noteDestroyed };
