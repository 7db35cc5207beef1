'use strict';

const { Store } = require('express-session');
const { Operation, Outbox } = require('./boundary/outbox.js');
const { Request } = require('./boundary/request.js');
const { checked, forgettable, promised } = require('./callbacks.js');
const { wrongType } = require('./common/errors.js');
const { address } = require('./connection/address.js');
const { Connection } = require('./connection/connection.js');
const { takeFields } = require('./fields.js');
const { Gate } = require('./gate.js');
const { check } = require('./options.js');
const { Near } = require('./session/cache.js');
const { Listings } = require('./session/listings.js');
const { Sessions } = require('./session/sessions.js');
const { Settings } = require('./settings.js');

/** `SCAN`'s `COUNT` where the app has not set it: a millisecond's work for Redis. */
const SCAN_COUNT = 1000;

/** In ms, where neither the app nor its client has said it; the addon has the same. */
const COMMAND_TIMEOUT = 5000;

/**
 * What a store is made of. Found by a symbol, as private fields are out of reach where an app has wrapped its store
 * in a Proxy, or made it the prototype of another object.
 */
const PARTS = Symbol('parts');

function partsOf(store, options) {
  const settings = new Settings(options);
  const onUnavailable = check.onUnavailable(options.onUnavailable);
  const where = address(options);
  const timeout = where.commandTimeout ?? COMMAND_TIMEOUT;
  const { prefix } = settings;
  const keys = { prefix, scanCount: options.scanCount ? settings.scanCount : SCAN_COUNT };
  const isOptional = onUnavailable === 'sessionless';
  const connection = new Connection(store, options.client, where, keys, isOptional, LIFECYCLE);
  const { native, inbox } = connection;
  const outbox = new Outbox(native, inbox, where.keyPrefix ?? '', prefix);
  const near = native.isNear ? new Near(native) : undefined;
  // The first operation finds a subclass's fields in place.
  const gate = new Gate(() => takeFields(store, RedisStore.prototype));
  const parts = { store, settings, gate, native, outbox, near, timeout };
  return {
    ...parts,
    connection,
    sessions: new Sessions(parts),
    listings: new Listings(parts),
    /** A promise once `close` was called. */
    closed: undefined,
  };
}

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
function resume({ closed, gate, connection, outbox, near }) {
  if (closed !== undefined || !gate.isSuspended) return;
  gate.resume();
  connection.resume();
  outbox.renew();
  near?.renew();
}

/** The public face: its options and fields, callbacks and promises. */
class RedisStore extends Store {
  constructor(options = {}) {
    super();
    if (options === null || typeof options !== 'object')
      throw wrongType('The argument of RedisStore', 'an object of options', options);
    // Not enumerable: clients hold passwords, and stores get logged.
    Object.defineProperty(this, 'client', { value: options.client ?? undefined });
    Object.defineProperty(this, PARTS, { value: partsOf(this, options) });
  }

  get status() {
    return this[PARTS].connection.status;
  }

  get transport() {
    return this[PARTS].connection.transport;
  }

  get prefix() {
    return this[PARTS].settings.prefix;
  }

  set prefix(value) {
    const { settings, sessions } = this[PARTS];
    const { prefix } = settings;
    settings.prefix = value;
    if (settings.prefix !== prefix) sessions.renew();
  }

  get ttl() {
    return this[PARTS].settings.ttl;
  }

  set ttl(value) {
    this[PARTS].settings.ttl = value;
  }

  get scanCount() {
    return this[PARTS].settings.scanCount;
  }

  set scanCount(value) {
    const { settings, native } = this[PARTS];
    settings.scanCount = value;
    native.setScanCount(settings.scanCount);
  }

  get serializer() {
    return this[PARTS].settings.serializer;
  }

  set serializer(value) {
    this[PARTS].settings.serializer = value;
  }

  get disableTTL() {
    return this[PARTS].settings.disableTTL;
  }

  set disableTTL(value) {
    this[PARTS].settings.disableTTL = value;
  }

  get disableTouch() {
    return this[PARTS].settings.disableTouch;
  }

  set disableTouch(value) {
    this[PARTS].settings.disableTouch = value;
  }

  get onConflict() {
    return this[PARTS].settings.onConflict;
  }

  get touchAfter() {
    return this[PARTS].settings.touchAfter;
  }

  get saveDestroyed() {
    return this[PARTS].settings.saveDestroyed;
  }

  /** By which express-session makes the live session of a request of what `get` gave. */
  createSession(request, loaded) {
    return this[PARTS].sessions.begin(request.sessionID, loaded, () => super.createSession(request, loaded));
  }

  regenerate(request, callback) {
    this[PARTS].sessions.abandon(request.session);
    super.regenerate(request, callback);
  }

  get(sid, callback) {
    const { sessions, near } = this[PARTS];
    if (callback == null) return promised((settle) => sessions.get(sid, near?.paced(settle) ?? settle));
    sessions.get(sid, checked(callback));
  }

  set(sid, session, callback) {
    const { sessions } = this[PARTS];
    if (callback == null)
      return forgettable(arguments.length > 2, (settle) => sessions.set(sid, session, settle, true));
    sessions.set(sid, session, checked(callback), false);
  }

  touch(sid, session, callback) {
    const { sessions } = this[PARTS];
    if (callback == null)
      return forgettable(arguments.length > 2, (settle) => sessions.touch(sid, session, settle, true));
    sessions.touch(sid, session, checked(callback), false);
  }

  destroy(sid, callback) {
    const { sessions } = this[PARTS];
    if (callback == null) return forgettable(arguments.length > 1, (settle) => sessions.destroy(sid, settle));
    sessions.destroy(sid, checked(callback));
  }

  all(callback) {
    const { listings } = this[PARTS];
    if (callback == null) return promised((settle) => listings.all(settle));
    listings.all(checked(callback));
  }

  ids(callback) {
    const { listings } = this[PARTS];
    if (callback == null) return promised((settle) => listings.ids(settle));
    listings.ids(checked(callback));
  }

  length(callback) {
    const { listings } = this[PARTS];
    if (callback == null) return promised((settle) => listings.length(settle));
    listings.length(checked(callback));
  }

  clear(callback) {
    const { listings } = this[PARTS];
    if (callback == null) return promised((settle) => listings.clear(settle));
    listings.clear(checked(callback));
  }

  scan(options = {}) {
    return this[PARTS].listings.scan(check.scan(options));
  }

  cacheStats() {
    return this[PARTS].near?.stats() ?? null;
  }

  close() {
    const parts = this[PARTS];
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
}

/** Ends the connection once all operations so far are answered; resolves then. */
function closeNative({ store, outbox }) {
  const ended = promised((settle) => outbox.add(Operation.CLOSE, new Request(store, settle)));
  outbox.flush();
  return ended;
}

async function end(parts) {
  const { connection, near } = parts;
  try {
    await closeNative(parts);
  } finally {
    connection.end();
    near?.end();
  }
}

module.exports = { RedisStore };
