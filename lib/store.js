'use strict';

const { Store } = require('express-session');
const { Availability } = require('./availability.js');
const { closeWithClient } = require('./client.js');
const { answerFor, followProvider } = require('./credentials.js');
const { coded, storeClosed, wrongType } = require('./errors.js');
const { Inbox } = require('./inbox.js');
const { lifetime } = require('./lifetime.js');
const { RedisStore: Native } = require('./native.js');
const { All, Get, Ids, Length } = require('./operations.js');
const { address, check } = require('./options.js');
const { Operation, Outbox } = require('./outbox.js');
const { Request } = require('./request.js');
const { Watch } = require('./watch.js');

/** One for all stores of this module: one wake-up serves them all. */
let inbox;

/** What the addon says of an option is a TypeError, like every other complaint about one. */
function connect(options) {
  inbox ??= new Inbox();
  try {
    return new Native(options, inbox.native);
  } catch (error) {
    throw coded(TypeError, error.code, error.message);
  }
}

/** Without a callback, a promise. */
function promised(run) {
  return new Promise((resolve, reject) => {
    run((error, result) => (error ? reject(error) : resolve(result)));
  });
}

/**
 * The same for a caller that passed `undefined` as its callback, as express-session does when the app
 * calls `session.destroy()`: it ignores the promise, so its rejection must not count as unhandled.
 */
function forgettable(isIgnored, run) {
  const promise = promised(run);
  if (isIgnored) promise.catch(() => {});
  return promise;
}

function checked(callback) {
  if (typeof callback !== 'function') throw wrongType('The callback', 'a function', callback);
  return callback;
}

class RedisStore extends Store {
  #native;
  #outbox;
  #prefix;
  #ttl;
  #scanCount;
  #serializer;
  #disableTTL;
  #disableTouch;
  #status = 'connecting';
  /** Only if requests are to go on without sessions while Redis is away. */
  #availability;
  #askForCredentials;
  #leaveClient = () => {};
  #leaveProvider = () => {};
  /** A promise once `close` was called. */
  #closed;

  constructor(options = {}) {
    super();
    if (options === null || typeof options !== 'object')
      throw wrongType('The argument of RedisStore', 'an object of options', options);
    this.#prefix = check.prefix(options.prefix);
    this.#ttl = check.ttl(options.ttl);
    this.#scanCount = check.scanCount(options.scanCount);
    this.#serializer = check.serializer(options.serializer);
    this.#disableTTL = check.disableTTL(options.disableTTL);
    this.#disableTouch = check.disableTouch(options.disableTouch);
    const onUnavailable = check.onUnavailable(options.onUnavailable);
    const where = address(options);
    this.#askForCredentials = where.askForCredentials;
    this.#native = connect({ ...where, prefix: this.#prefix, scanCount: this.#scanCount });
    if (onUnavailable === 'sessionless') {
      this.#availability = new Availability((event) => this.emit(event));
      this.#availability.lost();
    }
    this.#native.watch(inbox.admit(new Watch(this, RedisStore.#take)));
    if (where.renewals) this.#leaveProvider = followProvider(where.renewals, this, RedisStore.#renew);
    this.#outbox = new Outbox(this.#native, inbox);
    // Not enumerable: clients hold passwords, and stores get logged.
    Object.defineProperty(this, 'client', { value: options.client ?? undefined });
    // The app ends its client when it shuts down; our connection goes with it.
    if (this.client) this.#leaveClient = closeWithClient(this, this.client);
  }

  get status() {
    return this.#status;
  }

  get prefix() {
    return this.#prefix;
  }

  set prefix(value) {
    this.#prefix = check.prefix(value);
    // Requests of this tick were issued under the old prefix.
    this.#outbox.flush();
    this.#native.setPrefix(this.#prefix);
  }

  get ttl() {
    return this.#ttl;
  }

  set ttl(value) {
    this.#ttl = check.ttl(value);
  }

  get scanCount() {
    return this.#scanCount;
  }

  set scanCount(value) {
    this.#scanCount = check.scanCount(value);
    this.#native.setScanCount(this.#scanCount);
  }

  get serializer() {
    return this.#serializer;
  }

  set serializer(value) {
    this.#serializer = check.serializer(value);
  }

  get disableTTL() {
    return this.#disableTTL;
  }

  set disableTTL(value) {
    this.#disableTTL = check.disableTTL(value);
  }

  get disableTouch() {
    return this.#disableTouch;
  }

  set disableTouch(value) {
    this.#disableTouch = check.disableTouch(value);
  }

  get(sid, callback) {
    if (callback == null) return promised((settle) => this.#get(sid, settle));
    this.#get(sid, checked(callback));
  }

  set(sid, session, callback) {
    if (callback == null)
      return forgettable(arguments.length > 2, (settle) => this.#set(sid, session, settle, true));
    this.#set(sid, session, checked(callback), false);
  }

  touch(sid, session, callback) {
    if (callback == null)
      return forgettable(arguments.length > 2, (settle) => this.#touch(sid, session, settle, true));
    this.#touch(sid, session, checked(callback), false);
  }

  destroy(sid, callback) {
    if (callback == null) return forgettable(arguments.length > 1, (settle) => this.#destroy(sid, settle));
    this.#destroy(sid, checked(callback));
  }

  all(callback) {
    return this.#walk(Operation.ALL, All, 'all', callback);
  }

  ids(callback) {
    return this.#walk(Operation.IDS, Ids, 'ids', callback);
  }

  length(callback) {
    return this.#walk(Operation.LENGTH, Length, 'length', callback);
  }

  clear(callback) {
    return this.#walk(Operation.CLEAR, Request, 'clear', callback);
  }

  close() {
    if (this.#closed === undefined) {
      this.#leaveClient();
      this.#leaveProvider();
      this.#status = 'closed';
      this.#availability?.stop();
      this.#native.unwatch();
      this.#closed = promised((settle) => this.#outbox.add(Operation.CLOSE, new Request(this, settle))).then(
        () => undefined,
      );
      this.#outbox.flush();
      // Closing may be nobody's business but the client's that ended.
      this.#closed.catch(() => {});
    }
    return this.#closed;
  }

  [Symbol.asyncDispose]() {
    return this.close();
  }

  /** Takes an event of the connection. Static, since it must not hold a store. */
  static #take(store, event, error) {
    if (store.#closed !== undefined) return;
    if (event === 'credentials') {
      store.#giveCredentials();
      return;
    }
    if (event === 'ready') {
      store.#status = 'ready';
      store.#availability?.ready();
    } else if (event === 'reconnecting') {
      store.#status = 'reconnecting';
      store.#availability?.lost();
    }
    // EventEmitter throws an 'error' that nobody listens to.
    if (event !== 'error' || store.listenerCount('error') > 0) store.emit(event, error);
  }

  static #renew(store, credentials) {
    store.#native.giveCredentials(credentials);
  }

  async #giveCredentials() {
    const { given, refusal } = await answerFor(this.#askForCredentials);
    this.#native.giveCredentials(given, refusal);
  }

  #get(sid, callback) {
    if (this.#refuses('get', sid, callback)) return;
    this.#outbox.add(Operation.GET, new Get(this, callback), sid);
  }

  #set(sid, session, callback, isPromised) {
    if (this.#refuses('set', sid, callback)) return;
    let ttl;
    let text;
    let failure;
    try {
      ttl = this.#lifetime(session);
      if (ttl > 0) text = this.#stringify(session);
    } catch (error) {
      failure = { error };
    }
    if (failure) process.nextTick(callback, failure.error, null);
    else if (ttl > 0)
      this.#outbox.add(Operation.SET, new Request(this, callback), sid, text, this.#disableTTL ? 0 : ttl);
    else this.#expire(sid, callback, isPromised);
  }

  #touch(sid, session, callback, isPromised) {
    if (this.#refuses('touch', sid, callback)) return;
    if (this.#disableTouch || this.#disableTTL) {
      callback(null, null);
      return;
    }
    let ttl;
    let failure;
    try {
      ttl = this.#lifetime(session);
    } catch (error) {
      failure = { error };
    }
    if (failure) process.nextTick(callback, failure.error, null);
    else if (ttl > 0) this.#outbox.add(Operation.TOUCH, new Request(this, callback), sid, '', ttl);
    else this.#expire(sid, callback, isPromised);
  }

  /** A lifetime of 0 or less. Through the public method, since apps override it, some without a callback. */
  #expire(sid, callback, isPromised) {
    if (isPromised) Promise.resolve(this.destroy(sid)).then((result) => callback(null, result), callback);
    else this.destroy(sid, callback);
  }

  #destroy(sid, callback) {
    if (this.#refuses('destroy', sid, callback)) return;
    this.#outbox.add(Operation.DESTROY, new Request(this, callback), sid);
  }

  #walk(operation, Walk, name, callback) {
    if (callback == null) return promised((settle) => this.#walk(operation, Walk, name, settle));
    checked(callback);
    if (this.#closed) process.nextTick(callback, storeClosed(name), null);
    else this.#outbox.add(operation, new Walk(this, callback));
  }

  /** Answers what cannot be tried at all. */
  #refuses(name, sid, callback) {
    if (typeof sid === 'string' && this.#closed === undefined) return false;
    const error = this.#closed ? storeClosed(name) : wrongType(`${name}: the session id`, 'a string', sid);
    process.nextTick(callback, error, null);
    return true;
  }

  /** Milliseconds. */
  #lifetime(session) {
    if (session === null || typeof session !== 'object') throw wrongType('The session', 'an object', session);
    return lifetime(session, this.#ttl);
  }

  #stringify(session) {
    const text = this.#serializer.stringify(session);
    if (typeof text !== 'string') throw wrongType('What serializer.stringify returns', 'a string', text);
    return text;
  }
}

module.exports = { RedisStore };
