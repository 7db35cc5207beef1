'use strict';

/** The operations; src/requests.rs knows the same numbers. */
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

/** Those with requests that the addon has not been given yet. No two of them have to do with the same keys. */
const open = [];
/** Of more, the first goes out: who joins is compared with all. */
const MOST_OPEN = 32;

/** Hands over what was written in this tick, by whatever store, where somebody may look for it. */
function flushWrites() {
  for (let at = open.length - 1; at >= 0; at--) if (open[at].hasWrites) open[at].flush();
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
  #completions;
  /** Somebody may look for what is written. */
  #tellsWrites;
  #connection;
  #clientPrefix;
  #prefix;
  /** What all keys start with. */
  #keyPrefix;
  /** Writes that the addon has not been given yet, where somebody may look for them. */
  hasWrites = false;
  #flush = () => {
    this.#scheduled = false;
    this.flush();
  };

  /** @param clientPrefix what the app's client puts before keys */
  constructor(native, completions, clientPrefix, prefix) {
    this.#native = native;
    this.#completions = completions;
    this.#clientPrefix = clientPrefix;
    this.#prefix = prefix;
    this.#keyPrefix = clientPrefix + prefix;
    this.#connection = native.connection;
    this.#tellsWrites = native.hasCache;
  }

  /** The addon's store has another connection. */
  renew() {
    this.#connection = this.#native.connection;
  }

  /** Requests of this tick were issued under the old prefix. */
  setPrefix(prefix) {
    this.flush();
    this.#native.setPrefix(prefix);
    this.#prefix = prefix;
    this.#keyPrefix = this.#clientPrefix + prefix;
  }

  /** Returns what `run` returns. What that adds goes out under this prefix, whichever is set. */
  under(prefix, run) {
    const present = this.#prefix;
    if (prefix === present) return run();
    this.setPrefix(prefix);
    const result = run();
    this.setPrefix(present);
    return result;
  }

  /**
   * @param value a string or a Buffer, as is `base`
   * @param ttl milliseconds, 0 for none; or the number of a listing
   * @param base the text that was loaded, where it matters
   */
  add(operation, request, id = '', value = '', ttl = 0, base = '') {
    const room = (id.length + value.length + base.length) * BYTES_PER_UNIT;
    if (this.#used + room > this.#bytes.length) this.#makeRoom(id, value, base, room);
    if (this.#count === 0) this.#open();
    const slot = this.#completions.admit(request);
    const idBytes = id === '' ? 0 : this.#bytes.write(id, this.#used, 'utf8');
    const valueBytes = value === '' ? 0 : this.#write(value, this.#used + idBytes);
    this.#used += idBytes + valueBytes;
    const baseBytes = base === '' ? 0 : this.#write(base, this.#used);
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
      this.hasWrites = true;
    if (this.#count === MOST_REQUESTS) this.flush();
    else if (!this.#scheduled) {
      this.#scheduled = true;
      // While completions are drained, the drain flushes at its end: sooner than a microtask would.
      if (!this.#completions.flushAfterDrain(this.#flush)) resolved.then(this.#flush);
    }
  }

  /** Writes a string or a Buffer, and returns how many bytes that took. */
  #write(value, at) {
    return typeof value === 'string' ? this.#bytes.write(value, at, 'utf8') : value.copy(this.#bytes, at);
  }

  flush() {
    if (this.#count === 0) return;
    const count = this.#count;
    this.#count = 0;
    this.#used = 0;
    this.hasWrites = false;
    open.splice(open.indexOf(this), 1);
    this.#native.submit(this.#heads, this.#bytes, count, Date.now());
    // One large session is no reason to keep its room for ever.
    if (this.#bytes.length > 16 * USUAL_BYTES) this.#bytes = Buffer.allocUnsafeSlow(USUAL_BYTES);
  }

  /** Begins a batch. What other stores have asked of the same keys goes out before it, in the order of the calls. */
  #open() {
    for (let at = open.length - 1; at >= 0; at--) if (this.#meets(open[at])) open[at].flush();
    if (open.length === MOST_OPEN) open[0].flush();
    open.push(this);
  }

  /** The two may have to do with the same keys. */
  #meets(other) {
    return (
      other.#connection === this.#connection &&
      (other.#keyPrefix.startsWith(this.#keyPrefix) || this.#keyPrefix.startsWith(other.#keyPrefix))
    );
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
