'use strict';

const { Session, Store } = require('express-session');
const { thrown } = require('./app-functions.js');
const { Availability } = require('./availability.js');
const { Near } = require('./cache.js');
const { closeWithClient, hasEnded } = require('./client.js');
const { answerFor, followProvider } = require('./credentials.js');
const { coded, storeClosed, wrongType } = require('./errors.js');
const { takeFields } = require('./fields.js');
const { GuardedSave } = require('./guarded-save.js');
const { Inbox } = require('./inbox.js');
const { lifetime, time } = require('./lifetime.js');
const { Memory } = require('./memory.js');
const { RedisStore: Native } = require('./native.js');
const { All, Get, Ids, Length } = require('./operations.js');
const { address, check } = require('./options.js');
const { Operation, Outbox } = require('./outbox.js');
const { Request } = require('./request.js');
const { Save, Touch, tellDiscarded } = require('./save.js');
const { scan } = require('./scan.js');
const { nextTick } = require('./timers.js');
const { Transport } = require('./transport.js');
const { Turns } = require('./turns.js');
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

/** What `native.list` gives. */
const List = { IDS: 0, SESSIONS: 1, SESSIONS_TIMED: 2 };

/** `SCAN`'s `COUNT` where the app has not set it: a millisecond's work for Redis. */
const SCAN_COUNT = 1000;

/** In ms, where neither the app nor its client has said it; the addon has the same. */
const COMMAND_TIMEOUT = 5000;

/** Between the times that Redis and this process tell, in ms. */
const CLOCK_TOLERANCE = 100;

/** What is no plain object, of whatever realm, is a framework's session, made for one request. */
function isLive(session) {
  const prototype = Object.getPrototypeOf(session);
  return prototype !== null && Object.getPrototypeOf(prototype) !== null && !Array.isArray(session);
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
  /** Only if sessions are kept in this process. */
  #near;
  #prefix;
  #ttl;
  #scanCount;
  #serializer;
  #disableTTL;
  #disableTouch;
  #status = 'connecting';
  #transport;
  /** Only if requests are to go on without sessions while Redis is away. */
  #availability;
  #askForCredentials;
  #onConflict;
  #touchAfter;
  #saveDestroyed;
  #memory;
  /** Only where conflicts are looked for. */
  #turns;
  #commandTimeout;
  #leaveClient = () => {};
  #leaveProvider = () => {};
  /** A promise once `close` was called. */
  #closed;
  /** From the first operation on, which finds a subclass's fields in place, until `close`. */
  #isServing = false;

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
    this.#onConflict = check.onConflict(options.onConflict);
    this.#touchAfter = check.touchAfter(options.touchAfter);
    this.#saveDestroyed = check.saveDestroyed(options.saveDestroyed);
    check.canMerge(this.#onConflict, this.#serializer);
    this.#memory = new Memory({ bases: this.#isGuarded, ends: this.#touchAfter > 0 });
    const onUnavailable = check.onUnavailable(options.onUnavailable);
    const where = address(options);
    this.#commandTimeout = where.commandTimeout ?? COMMAND_TIMEOUT;
    if (this.#isGuarded) this.#turns = new Turns(this.#commandTimeout);
    this.#askForCredentials = where.askForCredentials;
    this.#native = connect({
      ...where,
      prefix: this.#prefix,
      scanCount: options.scanCount ? this.#scanCount : SCAN_COUNT,
    });
    if (onUnavailable === 'sessionless') {
      this.#availability = new Availability((event) => this.emit(event));
      this.#availability.lost();
    }
    this.#transport = where.client ? 'client' : 'native';
    if (where.client) {
      const transport = new Transport(options.client, where);
      transport.begin(this.#native.serve(inbox.admit(transport)));
    }
    this.#native.watch(inbox.admit(new Watch(this, RedisStore.#take)));
    if (where.renewals) this.#leaveProvider = followProvider(where.renewals, this, RedisStore.#renew);
    this.#outbox = new Outbox(this.#native, inbox, where.keyPrefix ?? '', this.#prefix);
    if (this.#native.isNear) this.#near = new Near(this.#native);
    // Not enumerable: clients hold passwords, and stores get logged.
    Object.defineProperty(this, 'client', { value: options.client ?? undefined });
    // The app ends its client when it shuts down; our connection goes with it.
    if (this.client) this.#leaveClient = closeWithClient(this, this.client);
  }

  get status() {
    return this.#status;
  }

  get transport() {
    return this.#transport;
  }

  get prefix() {
    return this.#prefix;
  }

  set prefix(value) {
    const prefix = check.prefix(value);
    if (prefix === this.#prefix) return;
    this.#prefix = prefix;
    this.#outbox.setPrefix(this.#prefix);
    this.#memory.clear();
    this.#near?.renew();
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
    const serializer = check.serializer(value);
    check.canMerge(this.#onConflict, serializer);
    this.#serializer = serializer;
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

  get onConflict() {
    return this.#onConflict;
  }

  get touchAfter() {
    return this.#touchAfter;
  }

  get saveDestroyed() {
    return this.#saveDestroyed;
  }

  /** By which express-session makes the live session of a request of what `get` gave. */
  createSession(request, loaded) {
    const { sessionID: id } = request;
    if (!this.#isServing) this.#takeFields();
    // Something else than `get` gave, such as a subclass's own: that is what the request starts from.
    if (this.#isGuarded && this.#memory.recall(loaded, id) === undefined)
      this.#memory.keep(loaded, id, this.#stringify(loaded), 0);
    const session = super.createSession(request, loaded);
    if (this.#memory.adopt(session, loaded, id) === undefined) this.#memory.keep(session, id, undefined, 0);
    return session;
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
    return this.#list(this.#isTimed ? List.SESSIONS_TIMED : List.SESSIONS, All, 'all', callback);
  }

  ids(callback) {
    return this.#list(List.IDS, Ids, 'ids', callback);
  }

  length(callback) {
    return this.#walk(Operation.LENGTH, Length, 'length', callback);
  }

  clear(callback) {
    return this.#walk(Operation.CLEAR, Request, 'clear', callback);
  }

  scan(options = {}) {
    const { count, match, signal } = check.scan(options);
    if (!this.#isServing) this.#takeFields();
    return scan(this, this.#outbox, {
      open: () => this.#native.list(List.SESSIONS_TIMED, match, count),
      isClosed: () => this.#closed !== undefined,
      timeout: this.#commandTimeout,
      signal,
    });
  }

  cacheStats() {
    return this.#near === undefined ? null : this.#near.stats();
  }

  close() {
    if (this.#closed === undefined) {
      this.#leaveClient();
      this.#leaveProvider();
      this.#status = 'closed';
      this.#isServing = false;
      this.#availability?.stop();
      this.#native.unwatch();
      // What waits for its turn is under way, too.
      const idle = this.#turns?.whenIdle();
      this.#closed = idle ? idle.then(() => this.#end()) : this.#end();
      // Closing may be nobody's business but the client's that ended.
      this.#closed.catch(() => {});
    }
    return this.#closed;
  }

  #end() {
    const ended = promised((settle) => this.#outbox.add(Operation.CLOSE, new Request(this, settle)));
    this.#outbox.flush();
    return ended.then(() => undefined);
  }

  [Symbol.asyncDispose]() {
    return this.close();
  }

  /** Takes an event of the connection. Static, since it must not hold a store. */
  static #take(store, event, error) {
    if (store.#closed !== undefined) return;
    if (store.client && hasEnded(store.client)) {
      store.close();
      return;
    }
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

  /** Conflicts are looked for. */
  get #isGuarded() {
    return this.#onConflict !== 'overwrite';
  }

  /** The addon cannot tell by itself whether a stored expiry is in force. */
  get #decidesExpiry() {
    return this.#serializer !== JSON || typeof this.#ttl === 'function';
  }

  /** When a session ends is to be known in any case. */
  get #isTimed() {
    return this.#decidesExpiry || this.#touchAfter > 0;
  }

  #get(sid, callback) {
    if (this.#refuses('get', sid, callback)) return;
    if (this.#turns?.isTaken(this.#prefix + sid)) this.#getLater(sid, callback);
    else this.#read(sid, callback);
  }

  /** Apart, so that no closure costs those that need not wait. */
  #getLater(sid, callback) {
    const prefix = this.#prefix;
    this.#wait(sid, 'get', callback, (settle) => {
      if (prefix === this.#prefix) this.#read(sid, settle);
      else this.#ask(sid, settle, undefined);
    });
  }

  /** What has to wait for its turn goes where it was asked to go, whatever prefix is set meanwhile. */
  #wait(sid, name, callback, begin) {
    const prefix = this.#prefix;
    this.#turns.wait(prefix + sid, name, callback, (settle) =>
      this.#outbox.under(prefix, () => begin(settle)),
    );
  }

  #read(sid, callback) {
    // With express-session, `createSession` sees all that is loaded.
    const memory = this.#memory.keepsLoaded || this.generate === undefined ? this.#memory : undefined;
    if (!this.#near?.get(this, sid, callback, memory, this.#decidesExpiry, this.#commandTimeout))
      this.#ask(sid, callback, memory);
  }

  #ask(sid, callback, memory) {
    const isTimed = this.#isTimed;
    const request = new Get(this, callback, sid, memory, isTimed, this.#commandTimeout);
    this.#outbox.add(isTimed ? Operation.GET_TIMED : Operation.GET, request, sid);
  }

  #set(sid, session, callback, isPromised) {
    if (this.#refuses('set', sid, callback)) return;
    const record = this.#memory.recall(session, sid);
    if (record === undefined && this.#isLeftOver(sid, session)) {
      nextTick(callback, null, null);
      tellDiscarded(this, sid);
      return;
    }
    let isKnown;
    let ttl;
    let text;
    let failure;
    try {
      ttl = this.#lifetime(session);
      const since = this.#aliveSince(sid, session, record);
      isKnown = since !== undefined;
      if (ttl <= 0 && isKnown) ttl = this.#renewed(session, ttl, since);
      if (ttl > 0) text = this.#stringify(session);
    } catch (error) {
      failure = { error };
    }
    if (failure) nextTick(callback, thrown(failure.error), null);
    else if (ttl <= 0) this.#expire(sid, callback, isPromised);
    else if (this.#isGuarded) this.#saveGuarded(sid, session, callback, record, isKnown, text, ttl);
    else this.#save(sid, session, callback, record, isKnown, text, ttl);
  }

  #save(sid, session, callback, record, isKnown, text, ttl) {
    const isFirst = record === undefined;
    const ends = this.#touchAfter > 0 ? Date.now() + ttl : 0;
    let kept = record;
    if (!isFirst) record.ends = ends;
    // An object of the app's own may be any number of sessions in turn.
    else if (isLive(session)) kept = this.#remember(session, sid, ends);
    const operation = isKnown && !this.#saveDestroyed ? Operation.SET_EXISTING : Operation.SET;
    const save = new Save(this, callback, session, kept, this.#memory, isFirst);
    this.#outbox.add(operation, save, sid, text, this.#disableTTL ? 0 : ttl);
  }

  #remember(session, sid, ends) {
    const record = this.#memory.keep(session, sid, undefined, ends);
    if (!(session instanceof Session)) record.since = Date.now();
    return record;
  }

  #saveGuarded(sid, session, callback, record, isKnown, text, ttl) {
    const kept = record ?? this.#remember(session, sid, 0);
    // Loaded, but not by `createSession`: nobody has told which text this object was made of.
    if (record === undefined && isKnown) kept.base = '';
    const save = {
      outbox: this.#outbox,
      turns: this.#turns,
      prefix: this.#prefix,
      session,
      record: kept,
      text,
      ttl: this.#disableTTL ? 0 : ttl,
      onConflict: this.#onConflict,
      // An object of the app's own is stored as it is.
      isRevived: this.#saveDestroyed || !isLive(session),
      since: Date.now(),
      timeout: this.#commandTimeout,
    };
    const begin = (settle) => new GuardedSave(this, settle, save).begin();
    if (this.#turns.isTaken(this.#prefix + sid)) this.#wait(sid, 'set', callback, begin);
    else begin(callback);
  }

  #touch(sid, session, callback, isPromised) {
    if (this.#refuses('touch', sid, callback)) return;
    if (this.#disableTouch || this.#disableTTL) {
      callback(null, null);
      return;
    }
    const record = this.#memory.recall(session, sid);
    let ttl;
    let failure;
    try {
      ttl = this.#lifetime(session);
      const since = ttl <= 0 ? this.#aliveSince(sid, session, record) : undefined;
      if (since !== undefined) ttl = this.#renewed(session, ttl, since);
    } catch (error) {
      failure = { error };
    }
    if (failure) nextTick(callback, thrown(failure.error), null);
    else if (ttl <= 0) this.#expire(sid, callback, isPromised);
    else if (this.#turns?.isTaken(this.#prefix + sid)) this.#prolongLater(sid, record, callback, ttl);
    else this.#prolong(sid, record, callback, ttl);
  }

  #prolongLater(sid, record, callback, ttl) {
    this.#wait(sid, 'touch', callback, (settle) => this.#prolong(sid, record, settle, ttl));
  }

  #prolong(sid, record, callback, ttl) {
    if (this.#touchAfter === 0 || record === undefined)
      this.#outbox.add(Operation.TOUCH, new Request(this, callback), sid, '', ttl);
    else if (this.#isFresh(record, ttl)) callback(null, null);
    else {
      const touch = new Touch(this, callback, record, Date.now() + ttl);
      this.#outbox.add(Operation.TOUCH, touch, sid, '', ttl);
    }
  }

  /** Its last touch, or what did as well, is less than `touchAfter` ago. */
  #isFresh({ ends }, ttl) {
    const remaining = ends - Date.now();
    // Half of a lifetime at most, so that one that is short does not end between two touches.
    const touchAfter = Math.min(this.#touchAfter * 1000, ttl / 2);
    return remaining >= ttl - touchAfter && remaining <= ttl + CLOCK_TOLERANCE;
  }

  /** A lifetime of 0 or less. Through the public method, since apps override it, some without a callback. */
  #expire(sid, callback, isPromised) {
    if (isPromised)
      Promise.resolve(this.destroy(sid)).then(
        (result) => callback(null, result),
        (error) => callback(thrown(error), null),
      );
    else this.destroy(sid, callback);
  }

  #destroy(sid, callback) {
    if (this.#refuses('destroy', sid, callback)) return;
    this.#memory.keepDestroyed(sid);
    if (this.#turns?.isTaken(this.#prefix + sid)) this.#destroyLater(sid, callback);
    else this.#outbox.add(Operation.DESTROY, new Request(this, callback), sid);
  }

  #destroyLater(sid, callback) {
    this.#wait(sid, 'destroy', callback, (settle) =>
      this.#outbox.add(Operation.DESTROY, new Request(this, settle), sid),
    );
  }

  #walk(operation, Walk, name, callback) {
    if (callback == null) return promised((settle) => this.#walk(operation, Walk, name, settle));
    checked(callback);
    const hindrance = this.#hindrance(name);
    if (hindrance) nextTick(callback, hindrance, null);
    else this.#outbox.add(operation, new Walk(this, callback));
  }

  #list(what, Listing, name, callback) {
    if (callback == null) return promised((settle) => this.#list(what, Listing, name, settle));
    checked(callback);
    const hindrance = this.#hindrance(name);
    if (hindrance) nextTick(callback, hindrance, null);
    else {
      const walk = this.#native.list(what, '*');
      new Listing(this, callback, this.#outbox, walk, this.#isTimed, this.#commandTimeout).begin();
    }
  }

  /** Answers what cannot be tried at all. */
  #refuses(name, sid, callback) {
    if (typeof sid === 'string' && this.#isServing) return false;
    let error = this.#hindrance(name);
    if (typeof sid !== 'string') error ??= wrongType(`${name}: the session id`, 'a string', sid);
    if (error === undefined) return false;
    nextTick(callback, error, null);
    return true;
  }

  /** Why no operation can be tried, if none can. */
  #hindrance(name) {
    if (this.#isServing) return undefined;
    if (this.#closed !== undefined) return storeClosed(name);
    try {
      this.#takeFields();
    } catch (error) {
      return error;
    }
    return undefined;
  }

  #takeFields() {
    if (this.#closed !== undefined) return;
    takeFields(this, RedisStore.prototype);
    this.#isServing = true;
  }

  /** Milliseconds. */
  #lifetime(session) {
    if (session === null || typeof session !== 'object') throw wrongType('The session', 'an object', session);
    return lifetime(session, this.#ttl);
  }

  /**
   * The lifetime of a session that has grown old since it was loaded, in a long request: its time begins
   * anew, as express-session has it at the end of the request. An app that ends a session by its cookie
   * leaves no `originalMaxAge` above 0 there; elsewhere, an expiry that was over when the session was alive.
   */
  #renewed(session, ttl, since) {
    const maxAge = session.cookie?.originalMaxAge;
    if (typeof this.#ttl === 'function' || typeof maxAge !== 'number' || !(maxAge > 0)) return ttl;
    if (time(session.cookie.expires) < since) return ttl;
    session.cookie.expires = new Date(Date.now() + maxAge);
    session.cookie.originalMaxAge = maxAge;
    return Math.ceil(maxAge);
  }

  /**
   * Whether the store has loaded or saved a session, and so does not bring it back: then when it was alive (0 where
   * that does not matter). Objects of the app's own are stored as they are.
   */
  #aliveSince(sid, session, record) {
    if (!isLive(session)) return undefined;
    if (record !== undefined) return record.since;
    if (this.generate !== undefined) return undefined;
    // One that the app has made by hand, for no request, is new.
    if (session instanceof Session && session.req?.sessionStore === undefined) return undefined;
    // Of a framework or a wrapper of this store that makes sessions by itself: the id is all to know them by.
    const loadedAt = this.#memory.loadedAt(sid);
    return loadedAt !== undefined && session instanceof Session ? 0 : loadedAt;
  }

  /**
   * Whether a session that was never saved was destroyed by this process: express-session then takes it from its
   * request. That of a request that has it is another one, which was given the same id.
   */
  #isLeftOver(sid, session) {
    const request = session?.req;
    if (request?.sessionStore === undefined || request.session === session) return false;
    return this.#memory.wasDestroyed(sid) && !this.#saveDestroyed;
  }

  #stringify(session) {
    const text = this.#serializer.stringify(session);
    if (typeof text !== 'string') throw wrongType('What serializer.stringify returns', 'a string', text);
    return text;
  }
}

module.exports = { RedisStore };
