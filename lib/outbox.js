'use strict';

/** The operations; src/store/requests.rs knows the same numbers. */
const Operation = {
  GET: 0,
  SET: 1,
  TOUCH: 2,
  DESTROY: 3,
  GET_TIMED: 4,
  SET_EXISTING: 5,
  SET_NEW: 6,
  SET_UNCHANGED: 7,
  SET_MERGED: 8,
  LENGTH: 9,
  CLEAR: 10,
  PAGE: 11,
  CLOSE: 12,
};

/**
 * Numbers per request: operation, request, bytes of the id, of the value and of the base, and the lifetime
 * in ms or, of a page, the number of its listing.
 */
const FIELDS = 6;
/**
 * A batch goes out at this many requests, or when the tick ends. Large enough to share the cost of a
 * hand-over; small enough that Redis works on the first while the event loop prepares the rest.
 */
const MOST_REQUESTS = 64;
const USUAL_BYTES = 64 * 1024;
/** UTF-8 needs at most this many bytes for a UTF-16 unit. */
const BYTES_PER_UNIT = 3;

const resolved = Promise.resolve();

/** Those with writes that the addon has not been given yet. */
const written = new Set();

/** Hands over what was written in this tick, by whatever store. */
function flushWrites() {
  if (written.size > 0) for (const outbox of written) outbox.flush();
}

/**
 * The requests of one store on their way to the addon: written into buffers as they come, handed over
 * in one call when the tick that issued them is over.
 */
class Outbox {
  #native;
  #heads = new Float64Array(FIELDS * MOST_REQUESTS);
  #bytes = Buffer.allocUnsafeSlow(4096);
  #count = 0;
  #used = 0;
  #scheduled = false;
  #inbox;
  /** Somebody may look for what is written. */
  #tellsWrites;
  #flush = () => {
    this.#scheduled = false;
    this.flush();
  };

  constructor(native, inbox) {
    this.#native = native;
    this.#inbox = inbox;
    this.#tellsWrites = native.isNear;
  }

  /**
   * @param ttl milliseconds, 0 for none; or the number of a listing
   * @param base the text that was loaded, where it matters
   */
  add(operation, request, id = '', value = '', ttl = 0, base = '') {
    const room = (id.length + value.length + base.length) * BYTES_PER_UNIT;
    if (this.#used + room > this.#bytes.length) this.#makeRoom(id, value, base, room);
    const slot = this.#inbox.admit(request);
    const idBytes = id === '' ? 0 : this.#bytes.write(id, this.#used, 'utf8');
    const valueBytes = value === '' ? 0 : this.#bytes.write(value, this.#used + idBytes, 'utf8');
    this.#used += idBytes + valueBytes;
    const baseBytes = base === '' ? 0 : this.#bytes.write(base, this.#used, 'utf8');
    this.#used += baseBytes;
    const at = this.#count++ * FIELDS;
    const heads = this.#heads;
    heads[at] = operation;
    heads[at + 1] = slot;
    heads[at + 2] = idBytes;
    heads[at + 3] = valueBytes;
    heads[at + 4] = baseBytes;
    heads[at + 5] = ttl;
    if (this.#tellsWrites && operation !== Operation.GET && operation !== Operation.GET_TIMED)
      written.add(this);
    if (this.#count === MOST_REQUESTS) this.flush();
    else if (!this.#scheduled) {
      this.#scheduled = true;
      // While completions are drained, the drain flushes at its end: sooner than a microtask would.
      if (!this.#inbox.flushAfterDrain(this.#flush)) resolved.then(this.#flush);
    }
  }

  flush() {
    if (this.#count === 0) return;
    const count = this.#count;
    this.#count = 0;
    this.#used = 0;
    if (this.#tellsWrites) written.delete(this);
    this.#native.submit(this.#heads, this.#bytes, count);
    // One large session is no reason to keep its room for ever.
    if (this.#bytes.length > 16 * USUAL_BYTES) this.#bytes = Buffer.allocUnsafeSlow(USUAL_BYTES);
  }

  #makeRoom(id, value, base, room) {
    let needed = room;
    // For a large value, counting its bytes is cheaper than three times the room.
    if (room > USUAL_BYTES)
      needed = [id, value, base].reduce((sum, text) => sum + Buffer.byteLength(text), 0);
    if (this.#used + needed > Math.max(this.#bytes.length, USUAL_BYTES)) this.flush();
    const size = this.#used + needed;
    if (size <= this.#bytes.length) return;
    const bytes = Buffer.allocUnsafeSlow(Math.max(size, Math.min(2 * this.#bytes.length, USUAL_BYTES)));
    this.#bytes.copy(bytes, 0, 0, this.#used);
    this.#bytes = bytes;
  }
}

module.exports = { Operation, Outbox, flushWrites };
