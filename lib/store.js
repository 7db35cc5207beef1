'use strict';

const { inspect } = require('node:util');
const { Store } = require('./common/express-session.js');
const { Operation } = require('./boundary/outbox.js');
const { Request } = require('./boundary/request.js');
const { toIgnorablePromise, LazyPromise, toPromise, withOptions } = require('./callbacks.js');
const { wrongType, wrongValue } = require('./common/errors.js');
const { RedisStoreError } = require('./common/store-error.js');
const { address } = require('./connection/address.js');
const { Connection } = require('./connection/connection.js');
const { applyFields, defineFields, hasFields, shownFields } = require('./fields.js');
const { channels, isTraced } = require('./observability/channels.js');
const { TracedSessions, Tracer } = require('./observability/operation-trace.js');
const { Statistics } = require('./observability/stats.js');
const { StoreState } = require('./store-state.js');
const { check, checkMerge, checkOptions, checkScanOptions } = require('./options.js');
const { CacheReads } = require('./session/cache-reads.js');
const { BulkOperations } = require('./session/bulk.js');
const { KnownEnds } = require('./session/known-ends.js');
const { lifetimesOf } = require('./session/lifetimes.js');
const { offerPromises } = require('./session/promises.js');
const { Sessions } = require('./session/sessions.js');
const { FIELDS, Settings, getTTL } = require('./settings.js');
const { IndexKeys } = require('./user-index/index-keys.js');
const { indexOptions } = require('./user-index/index-options.js');
const { RequestSessions } = require('./user-index/request-sessions.js');
const { UserIndex } = require('./user-index/user-index.js');
const { UserSessions } = require('./user-index/user-sessions.js');

/** @import { TracingChannel } from 'node:diagnostics_channel' */
/** @import { InspectOptions } from 'node:util' */
/** @import { OperationOptions, RedisStoreOptions, ScanOptions } from '../index.js' */
/** @import { Callback, Fields, HttpRequest, Parts as FieldParts, SessionObject } from './types.d.ts' */
/** @import { UserSessions as OfUser } from './types.d.ts' */

/** The default `COUNT` of `SCAN`: about a millisecond of Redis's time. */
const SCAN_COUNT = 1000;

/** A symbol rather than a private field, which an app's wrapper or copy of a store would not have. */
const PARTS = Symbol('parts');

/**
 * The components of a store, which its copies share: deep-clone functions copy a value by reference if they do not know
 * its `Symbol.toStringTag`.
 */
class Parts {
  /** The promise that `close` returns, once it was called. @type {Promise<void> | undefined} */
  closed;

  /** @param {RedisStore} store @param {RedisStoreOptions} options */
  constructor(store, options) {
    const checked = checkOptions(options);
    this.store = store;
    this.client = checked.client;
    this.accessors = ACCESSORS;
    const { onConflict, touchAfter, saveDestroyed, sessionHashKey, promises } = checked;
    const indexing = indexOptions(checked);
    const indexKeys = indexing && new IndexKeys(indexing);
    indexKeys?.check(checked.prefix);
    /** The values of the store's fields, unless the app has redefined them. */
    this.fields = /** @type {Fields} */ (
      /** @type {unknown} */ (Object.fromEntries(FIELDS.map((field) => [field, checked[field]])))
    );
    const target = address(options, checked);
    const { prefix, scanCount } = this.fields;
    const keys = { prefix, scanCount: options.scanCount ? scanCount : SCAN_COUNT };
    const isOptional = checked.onUnavailable === 'sessionless';
    this.connection = new Connection(store, checked.client, target, keys, isOptional, LIFECYCLE);
    this.connection.sessionHashKey = sessionHashKey;
    this.timeout = target.commandTimeout;
    this.outbox = this.connection.backend;
    const { native } = this.connection;
    this.cacheReads = native?.hasCache ? new CacheReads(native, prefix) : undefined;
    const [knownEnds, lifetimes] = [new KnownEnds(), lifetimesOf(checked, this.outbox)];
    this.fixed = {
      onConflict,
      touchAfter,
      saveDestroyed,
      sessionHashKey,
      promises,
      knownEnds,
      lifetimes,
      indexKeys,
    };
    this.stats = new Statistics();
    this.settings = new Settings(store, this.fields, this.fixed, this.stats);
    /** @type {FieldParts['snapshot']} */
    this.snapshot = {};
    /** The object that the last operation was called on. @type {any} */
    this.receiver = store;
    this.state = new StoreState(() => applyFields(this.receiver, this));
    this.isGetOverridden = () => this.receiver.get !== RedisStore.prototype.get;
    this.isQueueFull = (/** @type {number} */ count) =>
      count >= target.maxQueue && this.connection.status !== 'ready';
    this.index = indexing && new UserIndex(this.outbox, indexing, target.commandTimeout);
    this.sessions = new Sessions(this);
    this.tracer = new Tracer(this);
    this.bulk = new BulkOperations(this);
    /** The parts for traced operations on one session. */
    this.traced = { sessions: new TracedSessions(this.tracer, this.sessions), cacheReads: this.cacheReads };
  }

  get [Symbol.toStringTag]() {
    return 'RedisStoreParts';
  }
}

/**
 * Returns a session id as a string if it is a number, as connect-redis does. Other types are rejected later.
 *
 * @param {any} sid
 */
function idOf(sid) {
  return typeof sid === 'number' && Number.isFinite(sid)
    ? String(sid)
    : typeof sid === 'bigint'
      ? `${sid}`
      : sid;
}

/** @param {any} receiver a store, a copy of one, or a Proxy @returns {Parts} */
function partsOf(receiver) {
  const parts = receiver[PARTS];
  if (parts === undefined)
    throw wrongType(
      'The store',
      'one that was made by "new RedisStore(options)", or a copy of one',
      receiver,
    );
  return parts;
}

/**
 * Returns the parts for an operation that was called on `receiver`, and has its fields applied if they have changed.
 *
 * @param {any} receiver
 */
function currentParts(receiver) {
  const parts = partsOf(receiver);
  if (!parts.state.isOpen || !hasFields(receiver, parts.snapshot)) {
    parts.receiver = receiver;
    parts.state.reset();
  }
  return parts;
}

/**
 * Returns the parts for an operation on one session that publishes on `channel`.
 *
 * @param {any} receiver
 * @param {TracingChannel} channel
 */
function operationParts(receiver, channel) {
  const parts = currentParts(receiver);
  return isTraced(channel) ? parts.traced : parts;
}

/**
 * Returns the operations on the sessions of a user, with the current settings.
 *
 * @type {(receiver: any, operation: string) => OfUser}
 */
function userSessions(receiver, operation) {
  const parts = currentParts(receiver);
  const { index, state, sessions, outbox, timeout } = parts;
  if (index === undefined) throw wrongValue(`${operation} failed: the "userId" option`, 'set', undefined);
  const error = state.openFor(operation);
  if (error !== undefined) throw error;
  const onDestroyed = (/** @type {string} */ id) => sessions.noteDestroyed(id);
  return new UserSessions({ settings: parts.settings, outbox, index, timeout, onDestroyed });
}

/**
 * Sets a field. On an object derived by `Object.create(store)`, the field becomes an own property of that object.
 *
 * @template {keyof Fields} Field
 * @param {object} receiver
 * @param {Field} field
 * @param {Fields[Field]} value
 */
function setField(receiver, field, value) {
  const { store, fields } = partsOf(receiver);
  if (receiver === store || Object.hasOwn(receiver, PARTS)) fields[field] = value;
  else
    Object.defineProperty(receiver, field, { value, writable: true, enumerable: true, configurable: true });
}

/**
 * The fields of connect-redis. Defined on each store, not on the prototype, so that copies have the values.
 *
 * @type {Fields & { client: unknown } & ThisType<RedisStore>}
 */
const accessors = {
  get client() {
    return partsOf(this).client;
  },
  set client(value) {
    if (value !== partsOf(this).client)
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
    setField(this, 'prefix', check('prefix', value));
  },
  get ttl() {
    return this[PARTS].fields.ttl;
  },
  set ttl(value) {
    setField(this, 'ttl', check('ttl', value));
  },
  get scanCount() {
    return this[PARTS].fields.scanCount;
  },
  set scanCount(value) {
    const count = check('scanCount', value);
    setField(this, 'scanCount', count);
    // The value in force differs from the field until the app sets one.
    partsOf(this).outbox.setScanCount(count);
  },
  get serializer() {
    return this[PARTS].fields.serializer;
  },
  set serializer(value) {
    const serializer = check('serializer', value);
    checkMerge({ onConflict: partsOf(this).fixed.onConflict, serializer });
    setField(this, 'serializer', serializer);
  },
  get disableTTL() {
    return this[PARTS].fields.disableTTL;
  },
  set disableTTL(value) {
    setField(this, 'disableTTL', check('disableTTL', value));
  },
  get disableTouch() {
    return this[PARTS].fields.disableTouch;
  },
  set disableTouch(value) {
    setField(this, 'disableTouch', check('disableTouch', value));
  },
};
const ACCESSORS = Object.getOwnPropertyDescriptors(accessors);

/** The function that express-session's middleware has assigned to `generate`. */
const GENERATED_BY = Symbol('generate');

/**
 * Wraps the function that express-session's middleware assigns to the store and generates new sessions by: their
 * lifetime begins then, and the cookie that the browser receives ends with it.
 *
 * @type {PropertyDescriptor & ThisType<any>}
 */
const GENERATE = {
  get() {
    const generate = this[GENERATED_BY];
    if (typeof generate !== 'function') return generate;
    return (/** @type {import('./types.d.ts').HttpRequest} */ request) => {
      Reflect.apply(generate, this, [request]);
      const { sessions, fixed } = currentParts(this);
      sessions.started(request);
      if (fixed.promises) offerPromises(request);
    };
  },
  set(value) {
    Object.defineProperty(this, GENERATED_BY, { value, writable: true, configurable: true });
  },
  enumerable: true,
  configurable: true,
};

/**
 * Receives the state changes of the app's client. Holds no reference to a store.
 *
 * @type {Record<'closed' | 'open', (store: RedisStore) => void>}
 */
const LIFECYCLE = {
  closed: (store) => suspend(store[PARTS]),
  open: (store) => resume(store[PARTS]),
};

/**
 * Rejects operations while the app's client is closed. The connection closes after those in flight complete.
 *
 * @param {Parts} parts
 */
function suspend(parts) {
  const { connection, state, sessions } = parts;
  if (state.isClosed) return;
  state.suspend(connection.clientName, () => {
    if (connection.isClientOpen) resume(parts);
  });
  connection.suspend();
  const endConnection = () => {
    // It fails only if the store was closed in the meantime.
    if (state.isSuspended) closeNative(parts).catch(() => {});
  };
  // Operations in the keyed queue are pending, too.
  const idle = sessions.whenIdle();
  if (idle) idle.then(endConnection);
  else endConnection();
}

/** Resumes operations after the app's client has connected again. @param {Parts} parts */
function resume({ closed, state, connection, cacheReads, settings }) {
  if (closed !== undefined || !state.isSuspended) return;
  state.resume();
  connection.resume();
  cacheReads?.useConnection(settings.prefix);
}

/** The public API: options and fields, callbacks and promises. */
class RedisStore extends Store {
  /** Enumerable, so that copies share them. @type {Parts} */
  [PARTS];

  /** @param {RedisStoreOptions} options */
  constructor(options = {}) {
    super();
    this[PARTS] = new Parts(this, options);
    defineFields(this, ACCESSORS, RedisStore.prototype);
    const { lifetimes, promises } = this[PARTS].fixed;
    if (lifetimes !== undefined || promises) Object.defineProperty(this, 'generate', GENERATE);
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

  get idleTimeout() {
    return partsOf(this).fixed.lifetimes?.idleTimeout;
  }

  get maxLifetime() {
    return partsOf(this).fixed.lifetimes?.maxLifetime;
  }

  get createdAtKey() {
    return partsOf(this).fixed.lifetimes?.createdAtKey;
  }

  /**
   * Creates the session of a request from the data that `get` returned; express-session calls it.
   *
   * @type {Store['createSession']}
   */
  createSession(request, loaded) {
    const { sessions, fixed } = currentParts(this);
    const session = sessions.begin(request, loaded, () => super.createSession(request, loaded));
    if (fixed.promises) offerPromises(/** @type {any} */ (request));
    return session;
  }

  /** @type {Store['regenerate']} */
  regenerate(request, callback) {
    const replaced = currentParts(this).sessions.replace(request.session);
    super.regenerate(request, (error) => {
      replaced(error);
      callback(error);
    });
  }

  /** @param {string} sid @param {Callback | OperationOptions} [options] @param {Callback} [callback] */
  get(sid, options, callback) {
    const { sessions, cacheReads } = operationParts(this, channels.get);
    if (typeof options === 'function') {
      const promise = new LazyPromise();
      sessions.get(idOf(sid), promise.wrap(options));
      return promise;
    }
    const pace = callback == null ? cacheReads : undefined;
    /** @param {Callback} done */
    const read = (done) => sessions.get(idOf(sid), pace?.pace(done) ?? done);
    return options == null && callback == null ? toPromise(read) : withOptions(options, callback, read);
  }

  /** @param {string} sid @param {SessionObject} session @param {Callback} [callback] */
  set(sid, session, callback) {
    const { sessions } = operationParts(this, channels.set);
    if (callback == null)
      return toIgnorablePromise(arguments.length > 2, (done) => sessions.set(idOf(sid), session, done, true));
    const promise = new LazyPromise();
    sessions.set(idOf(sid), session, promise.wrap(callback), false);
    return promise;
  }

  /** @param {string} sid @param {SessionObject} session @param {Callback} [callback] */
  touch(sid, session, callback) {
    const { sessions } = operationParts(this, channels.touch);
    if (callback == null)
      return toIgnorablePromise(arguments.length > 2, (done) =>
        sessions.touch(idOf(sid), session, done, true),
      );
    const promise = new LazyPromise();
    sessions.touch(idOf(sid), session, promise.wrap(callback), false);
    return promise;
  }

  /** @param {string} sid @param {Callback} [callback] */
  destroy(sid, callback) {
    const { sessions } = operationParts(this, channels.destroy);
    if (callback == null)
      return toIgnorablePromise(arguments.length > 1, (done) => sessions.destroy(idOf(sid), done));
    const promise = new LazyPromise();
    sessions.destroy(idOf(sid), promise.wrap(callback));
    return promise;
  }

  /** @param {Callback | OperationOptions} [options] @param {Callback} [callback] */
  all(options, callback) {
    const { bulk } = currentParts(this);
    return withOptions(options, callback, (done) => bulk.all(done));
  }

  /** @param {Callback | OperationOptions} [options] @param {Callback} [callback] */
  ids(options, callback) {
    const { bulk } = currentParts(this);
    return withOptions(options, callback, (done) => bulk.ids(done));
  }

  /** @param {Callback | OperationOptions} [options] @param {Callback} [callback] */
  length(options, callback) {
    const { bulk } = currentParts(this);
    return withOptions(options, callback, (done) => bulk.length(done));
  }

  /** @param {Callback | OperationOptions} [options] @param {Callback} [callback] */
  clear(options, callback) {
    const { bulk } = currentParts(this);
    return withOptions(options, callback, (done) => bulk.clear(done));
  }

  /** @param {ScanOptions} options */
  scan(options = {}) {
    return currentParts(this).bulk.scan(checkScanOptions(options));
  }

  /** @param {string} sid */
  sessionHash(sid) {
    const id = idOf(sid);
    if (typeof id !== 'string') throw wrongType('sessionHash: the session id', 'a string or a number', sid);
    return partsOf(this).settings.sessionHash(id);
  }

  /** @param {unknown} user @param {{ index?: string }} [options] */
  sessionsOf(user, options = {}) {
    const sessions = userSessions(this, 'sessionsOf');
    return sessions.list(sessions.key(user, options));
  }

  /** @param {unknown} user @param {{ index?: string }} [options] */
  async countOf(user, options = {}) {
    const sessions = userSessions(this, 'countOf');
    return sessions.count(sessions.key(user, options));
  }

  /** @param {unknown} user @param {{ index?: string, except?: string | string[], notBefore?: Date | number }} [options] */
  async destroyAllOf(user, options = {}) {
    const sessions = userSessions(this, 'destroyAllOf');
    return sessions.destroyAll(sessions.key(user, options, ['except', 'notBefore']), options);
  }

  /** @param {unknown} user @param {string} handle @param {{ index?: string }} [options] */
  async destroyByHandle(user, handle, options = {}) {
    const sessions = userSessions(this, 'destroyByHandle');
    return sessions.destroyByHandle(sessions.key(user, options), handle);
  }

  /** @param {unknown} user @param {(session: any) => unknown} change @param {{ index?: string }} [options] */
  async updateAllOf(user, change, options = {}) {
    const sessions = userSessions(this, 'updateAllOf');
    return sessions.updateAll(sessions.key(user, options), change);
  }

  /** @param {HttpRequest} request */
  forRequest(request) {
    if (request === null || typeof request !== 'object') throw wrongType('The request', 'an object', request);
    userSessions(this, 'forRequest');
    const { index } = partsOf(this);
    return new RequestSessions(this, request, (session) => index?.keys.userOf(session));
  }

  /** @param {{ signal?: AbortSignal }} [options] */
  async reindex({ signal } = {}) {
    const sessions = userSessions(this, 'reindex');
    const scan = { ...checkScanOptions({ signal }), readsAhead: true };
    return sessions.reindex(currentParts(this).bulk.scan(scan));
  }

  stats() {
    const { connection, stats } = partsOf(this);
    return stats.of(connection, this.cacheStats());
  }

  cacheStats() {
    return partsOf(this).cacheReads?.stats() ?? null;
  }

  close() {
    const parts = partsOf(this);
    if (parts.closed === undefined) {
      const { connection, state, sessions } = parts;
      connection.detach();
      state.close();
      // Operations in the keyed queue are pending, too.
      const idle = sessions.whenIdle();
      parts.closed = idle ? idle.then(() => end(parts)) : end(parts);
      // The caller may ignore the promise.
      parts.closed.catch(() => {});
    }
    return parts.closed;
  }

  [Symbol.asyncDispose]() {
    return this.close();
  }

  /** @param {number} depth @param {InspectOptions} options */
  [inspect.custom](depth, options, show = inspect) {
    const name = this.constructor?.name ?? 'RedisStore';
    if (depth < 0) return `[${name}]`;
    const connection = this[PARTS]?.connection;
    const state = connection && {
      status: connection.status,
      server: connection.backend.server,
      transport: connection.transport,
    };
    return `${name} ${show({ ...state, ...shownFields(this) }, options)}`;
  }

  toJSON() {
    return shownFields(this);
  }
}

// `once` and `prependOnceListener` call these. Sessions are remembered from the first listener on.
for (const name of /** @type {const} */ (['on', 'addListener', 'prependListener'])) {
  const inherited = Store.prototype[name];
  /** @type {typeof inherited} @this {RedisStore} */
  const value = function (event, listener) {
    if (event === 'expired') partsOf(this).fixed.knownEnds.hasListener = true;
    return Reflect.apply(inherited, this, [event, listener]);
  };
  Object.defineProperty(RedisStore.prototype, name, { value, writable: true, configurable: true });
}

for (const name of ['getTTL', '_getTTL'])
  Object.defineProperty(RedisStore.prototype, name, { value: getTTL, writable: true, configurable: true });

/** Closes the connection after all operations so far complete, and resolves then. @param {Parts} parts */
function closeNative({ settings, outbox }) {
  const ended = toPromise((done) => outbox.add(Operation.CLOSE, new Request(settings, done, undefined)));
  outbox.flush();
  return ended;
}

/** @param {Parts} parts */
async function end(parts) {
  const { connection, cacheReads } = parts;
  try {
    await closeNative(parts);
  } finally {
    connection.end();
    cacheReads?.end();
  }
}

/**
 * The class, callable like connect-redis up to version 6, where `require('connect-redis')(session)` returns the class.
 */
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

module.exports = { RedisStore: callable, RedisStoreError };
