'use strict';

const { inspect } = require('node:util');
const { Store } = require('express-session');
const { Operation, Outbox } = require('./boundary/outbox.js');
const { Request } = require('./boundary/request.js');
const { forgettable, LazyPromise, promised } = require('./callbacks.js');
const { wrongType, wrongValue } = require('./common/errors.js');
const { address } = require('./connection/address.js');
const { Connection } = require('./connection/connection.js');
const { applyFields, defineFields, hasFields, shownFields } = require('./fields.js');
const { Gate } = require('./gate.js');
const { check } = require('./options.js');
const { CacheReads } = require('./session/cache-reads.js');
const { BulkOperations } = require('./session/bulk.js');
const { Sessions } = require('./session/sessions.js');
const { Settings, checkedFields, fixedOptions, getTTL } = require('./settings.js');

/** `SCAN`'s `COUNT` where the app has not set it: a millisecond's work for Redis. */
const SCAN_COUNT = 1000;

/** In ms, where neither the app nor its client has said it; the addon has the same. */
const COMMAND_TIMEOUT = 5000;

/** As above, for operations that wait for a connection. */
const MAX_QUEUE = 20_000;

/** Found by a symbol, as private fields are out of reach where an app has wrapped or copied its store. */
const PARTS = Symbol('parts');

/**
 * The components of a store. Its copies share them: functions that make deep clones keep a value by reference whose
 * `Symbol.toStringTag` they do not know.
 */
class Parts {
  /** A promise once `close` was called. */
  closed;

  constructor(store, options) {
    this.store = store;
    this.client = options.client ?? undefined;
    this.accessors = ACCESSORS;
    this.fixed = fixedOptions(options);
    /** The values that the fields of `store` have, if the app has not redefined them. */
    this.fields = checkedFields(options, this.fixed);
    const onUnavailable = check.onUnavailable(options.onUnavailable);
    const where = address(options);
    const { prefix, scanCount } = this.fields;
    const keys = { prefix, scanCount: options.scanCount ? scanCount : SCAN_COUNT };
    const isOptional = onUnavailable === 'sessionless';
    this.connection = new Connection(store, options.client, where, keys, isOptional, LIFECYCLE);
    const { native, completions } = this.connection;
    this.native = native;
    this.timeout = where.commandTimeout ?? COMMAND_TIMEOUT;
    this.outbox = new Outbox(native, completions, where.keyPrefix ?? '', prefix);
    this.cacheReads = native.hasCache ? new CacheReads(native, prefix) : undefined;
    this.settings = new Settings(store, this.fields, this.fixed);
    /** The fields as they were read last, and of which object; nothing until the first operation. */
    this.read = {};
    this.face = store;
    this.gate = new Gate(() => applyFields(this.face, this));
    this.isGetOverridden = () => this.face.get !== RedisStore.prototype.get;
    const maxQueue = where.maxQueue ?? MAX_QUEUE;
    this.isQueueFull = (count) => count >= maxQueue && this.connection.status !== 'ready';
    this.sessions = new Sessions(this);
    this.bulk = new BulkOperations(this);
  }

  get [Symbol.toStringTag]() {
    return 'RedisStoreParts';
  }
}

/** The session id: a number counts as the string it is written as, as in connect-redis. Others are refused later. */
function idOf(sid) {
  return typeof sid === 'number' && Number.isFinite(sid)
    ? String(sid)
    : typeof sid === 'bigint'
      ? `${sid}`
      : sid;
}

/** @param face a store, a copy of one, or a Proxy */
function partsOf(face) {
  const parts = face[PARTS];
  if (parts === undefined)
    throw wrongType('The store', 'one that was made by "new RedisStore(options)", or a copy of one', face);
  return parts;
}

/** The parts for an operation that was called on `face`, whose fields are put in force. */
function currentParts(face) {
  const parts = partsOf(face);
  if (!parts.gate.isOpen || !hasFields(face, parts.read)) {
    parts.face = face;
    parts.gate.reset();
  }
  return parts;
}

/** Sets a field. On an heir of a store, as `Object.create(store)` makes it, it becomes the heir's own. */
function setField(face, field, value) {
  const { store, fields } = partsOf(face);
  if (face === store || Object.hasOwn(face, PARTS)) fields[field] = value;
  else Object.defineProperty(face, field, { value, writable: true, enumerable: true, configurable: true });
}

/** The fields of connect-redis. Defined on each store, not on the prototype: copies of it have the values. */
const ACCESSORS = Object.getOwnPropertyDescriptors({
  get client() {
    return partsOf(this).client;
  },
  set client(value) {
    if (value !== this.client)
      throw wrongValue(
        'The "client" of a store',
        'left as it is: for another client, make another store with new RedisStore({ client })',
        undefined,
      );
  },
  get prefix() {
    return this[PARTS].fields.prefix;
  },
  set prefix(value) {
    setField(this, 'prefix', check.prefix(value));
  },
  get ttl() {
    return this[PARTS].fields.ttl;
  },
  set ttl(value) {
    setField(this, 'ttl', check.ttl(value));
  },
  get scanCount() {
    return this[PARTS].fields.scanCount;
  },
  set scanCount(value) {
    const count = check.scanCount(value);
    setField(this, 'scanCount', count);
    // Left out, it is another one than the field says.
    partsOf(this).native.setScanCount(count);
  },
  get serializer() {
    return this[PARTS].fields.serializer;
  },
  set serializer(value) {
    const serializer = check.serializer(value);
    check.canMerge(partsOf(this).fixed.onConflict, serializer);
    setField(this, 'serializer', serializer);
  },
  get disableTTL() {
    return this[PARTS].fields.disableTTL;
  },
  set disableTTL(value) {
    setField(this, 'disableTTL', check.disableTTL(value));
  },
  get disableTouch() {
    return this[PARTS].fields.disableTouch;
  },
  set disableTouch(value) {
    setField(this, 'disableTouch', check.disableTouch(value));
  },
});

/** Follows the app's client. Holds no store. */
const LIFECYCLE = {
  closed: (store) => suspend(store[PARTS]),
  open: (store) => resume(store[PARTS]),
  replaced: (store) => store[PARTS].outbox.renew(),
};

/** Refuses operations while the app's client is closed. The connection ends once those in flight are answered. */
function suspend(parts) {
  const { connection, gate, sessions } = parts;
  if (gate.isShut) return;
  gate.suspend(connection.clientName, () => {
    if (connection.isClientOpen) resume(parts);
  });
  connection.suspend();
  const endConnection = () => {
    // Its failure would be that of a store that is closed meanwhile.
    if (gate.isSuspended) closeNative(parts).catch(() => {});
  };
  // What waits for its turn is under way, too.
  const idle = sessions.whenIdle();
  if (idle) idle.then(endConnection);
  else endConnection();
}

/** Serves again with the app's client. */
function resume({ closed, gate, connection, outbox, cacheReads, settings }) {
  if (closed !== undefined || !gate.isSuspended) return;
  gate.resume();
  connection.resume();
  outbox.renew();
  cacheReads?.renew(settings.prefix);
}

/** The public face: its options and fields, callbacks and promises. */
class RedisStore extends Store {
  constructor(options = {}) {
    super();
    if (options === null || typeof options !== 'object')
      throw wrongType('The argument of RedisStore', 'an object of options', options);
    // Enumerable, for copies to share them.
    this[PARTS] = new Parts(this, options);
    defineFields(this, ACCESSORS, RedisStore.prototype);
  }

  get status() {
    return partsOf(this).connection.status;
  }

  get transport() {
    return partsOf(this).connection.transport;
  }

  get onConflict() {
    return partsOf(this).fixed.onConflict;
  }

  get touchAfter() {
    return partsOf(this).fixed.touchAfter;
  }

  get saveDestroyed() {
    return partsOf(this).fixed.saveDestroyed;
  }

  /** By which express-session makes the live session of a request of what `get` gave. */
  createSession(request, loaded) {
    return currentParts(this).sessions.begin(request, loaded, () => super.createSession(request, loaded));
  }

  regenerate(request, callback) {
    const replaced = currentParts(this).sessions.replace(request.session);
    super.regenerate(request, (error) => {
      replaced(error);
      callback(error);
    });
  }

  get(sid, callback) {
    const { sessions, cacheReads } = currentParts(this);
    if (callback == null)
      return promised((settle) => sessions.get(idOf(sid), cacheReads?.paced(settle) ?? settle));
    const promise = new LazyPromise();
    sessions.get(idOf(sid), promise.settledBy(callback));
    return promise;
  }

  set(sid, session, callback) {
    const { sessions } = currentParts(this);
    if (callback == null)
      return forgettable(arguments.length > 2, (settle) => sessions.set(idOf(sid), session, settle, true));
    const promise = new LazyPromise();
    sessions.set(idOf(sid), session, promise.settledBy(callback), false);
    return promise;
  }

  touch(sid, session, callback) {
    const { sessions } = currentParts(this);
    if (callback == null)
      return forgettable(arguments.length > 2, (settle) => sessions.touch(idOf(sid), session, settle, true));
    const promise = new LazyPromise();
    sessions.touch(idOf(sid), session, promise.settledBy(callback), false);
    return promise;
  }

  destroy(sid, callback) {
    const { sessions } = currentParts(this);
    if (callback == null)
      return forgettable(arguments.length > 1, (settle) => sessions.destroy(idOf(sid), settle));
    const promise = new LazyPromise();
    sessions.destroy(idOf(sid), promise.settledBy(callback));
    return promise;
  }

  all(callback) {
    const { bulk } = currentParts(this);
    if (callback == null) return promised((settle) => bulk.all(settle));
    const promise = new LazyPromise();
    bulk.all(promise.settledBy(callback));
    return promise;
  }

  ids(callback) {
    const { bulk } = currentParts(this);
    if (callback == null) return promised((settle) => bulk.ids(settle));
    const promise = new LazyPromise();
    bulk.ids(promise.settledBy(callback));
    return promise;
  }

  length(callback) {
    const { bulk } = currentParts(this);
    if (callback == null) return promised((settle) => bulk.length(settle));
    const promise = new LazyPromise();
    bulk.length(promise.settledBy(callback));
    return promise;
  }

  clear(callback) {
    const { bulk } = currentParts(this);
    if (callback == null) return promised((settle) => bulk.clear(settle));
    const promise = new LazyPromise();
    bulk.clear(promise.settledBy(callback));
    return promise;
  }

  scan(options = {}) {
    return currentParts(this).bulk.scan(check.scan(options));
  }

  cacheStats() {
    return partsOf(this).cacheReads?.stats() ?? null;
  }

  close() {
    const parts = partsOf(this);
    if (parts.closed === undefined) {
      const { connection, gate, sessions } = parts;
      connection.leave();
      gate.shut();
      // What waits for its turn is under way, too.
      const idle = sessions.whenIdle();
      parts.closed = idle ? idle.then(() => end(parts)) : end(parts);
      // Closing may be nobody's business but the client's that ended.
      parts.closed.catch(() => {});
    }
    return parts.closed;
  }

  [Symbol.asyncDispose]() {
    return this.close();
  }

  [inspect.custom](depth, options, show = inspect) {
    const name = this.constructor?.name ?? 'RedisStore';
    return depth < 0 ? `[${name}]` : `${name} ${show(shownFields(this), options)}`;
  }

  toJSON() {
    return shownFields(this);
  }
}

for (const name of ['getTTL', '_getTTL'])
  Object.defineProperty(RedisStore.prototype, name, { value: getTTL, writable: true, configurable: true });

/** Ends the connection once all operations so far are answered; resolves then. */
function closeNative({ store, outbox }) {
  const ended = promised((settle) => outbox.add(Operation.CLOSE, new Request(store, settle)));
  outbox.flush();
  return ended;
}

async function end(parts) {
  const { connection, cacheReads } = parts;
  try {
    await closeNative(parts);
  } finally {
    connection.end();
    cacheReads?.end();
  }
}

/** The class, which can be called as connect-redis up to version 6 is: `require('connect-redis')(session)` returns it. */
const callable = new Proxy(RedisStore, {
  apply(_class, _receiver, [session]) {
    if (typeof session?.Store === 'function') return callable;
    throw wrongType(
      'The argument of RedisStore called without "new"',
      "express-session's function (to make a store, write new RedisStore({ client }))",
      session,
    );
  },
});
RedisStore.prototype.constructor = callable;

module.exports = { RedisStore: callable };
