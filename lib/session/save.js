'use strict';

const { Kind, Request } = require('../boundary/request.js');
const { fromNative } = require('../common/errors.js');
const { nextTick } = require('../common/timers.js');

/** The result of a save that did nothing, since the session had been destroyed meanwhile. */
const DISCARDED = 'discarded';

/**
 * Tells those who want to know that a save did nothing, since the session had been destroyed meanwhile.
 * After the callback: what a listener throws is its own affair.
 */
function tellDiscarded(store, id) {
  nextTick(() => store.emit('discarded', { operation: 'set', id }));
}

/** Saves a session without a look at what others saved. */
class Save extends Request {
  /** @param record of the session; undefined for an object that is not remembered */
  constructor(store, callback, session, record, registry, isFirst) {
    super(store, callback);
    this.session = session;
    this.record = record;
    this.registry = registry;
    this.isFirst = isFirst;
  }

  complete(kind, text) {
    if (kind === Kind.MISSING) this.#missing();
    else {
      if (kind === Kind.FAILED) this.#failed(text);
      super.complete(kind, text);
    }
  }

  #missing() {
    const { record } = this;
    if (record.failure !== undefined) {
      // Not destroyed, but never stored: the save that was to do so, which this one came after, failed.
      this.fail(fromNative(record.failure));
      return;
    }
    record.ends = 0;
    this.runInAsyncScope(tellDiscarded, undefined, this.store, record.id);
    this.succeed(DISCARDED);
  }

  #failed(text) {
    const { record, registry, session } = this;
    if (record === undefined) return;
    record.ends = 0;
    if (!this.isFirst) return;
    // Nothing is known to be stored, so the next save may be the first again.
    record.failure = text;
    registry.forget(session, record);
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

module.exports = { DISCARDED, Save, Touch, tellDiscarded };
