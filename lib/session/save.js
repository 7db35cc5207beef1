'use strict';

const { Kind, Request } = require('../boundary/request.js');
const { fromNative } = require('../common/store-error.js');
const { nextTick } = require('../common/timers.js');

/** @import { Callback, Complete, SessionObject, SessionRecord, SessionRegistry, Settings } from '../types.d.ts' */

/** The result of a save that stored nothing, because the session was destroyed after it was loaded. */
const DISCARDED = 'discarded';

/**
 * Emits `discarded` in the next tick, after the callback of the save, so that an exception of a listener does not
 * affect the operation.
 *
 * @param {Settings} store
 * @param {string} id
 */
function emitDiscarded(store, id) {
  nextTick(() => store.emit('discarded', { operation: 'set', id }));
}

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
    super(store, callback);
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
    this.runInAsyncScope(emitDiscarded, undefined, this.store, record.id);
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

/** Renews the lifetime of a session, and notes it in the record. */
class Touch extends Request {
  /** @param {Settings} store @param {Callback} callback @param {SessionRecord} record @param {number} ends */
  constructor(store, callback, record, ends) {
    super(store, callback);
    this.record = record;
    this.ends = ends;
  }

  /** @type {Complete} */
  complete(kind, text) {
    this.record.ends = kind === Kind.DONE ? this.ends : 0;
    super.complete(kind, text);
  }
}

module.exports = { DISCARDED, Save, Touch, emitDiscarded };
