'use strict';

const { ClientBackend } = require('../backends/client/backend.js');
const { FallbackBackend } = require('../backends/fallback.js');
const { CompletionQueue } = require('../boundary/completions.js');
const { RedisStore: Native } = require('../boundary/native.js');
const { Outbox } = require('../boundary/outbox.js');
const { nameOf } = require('../clients/description.js');
const { followClient, hasEnded, isClosed } = require('../clients/closing.js');
const { optionError } = require('../common/errors.js');
const { ConnectionTrace, observedKinds } = require('../observability/connection-trace.js');
const { ErrorLimit } = require('../observability/error-limit.js');
const { sessionHash } = require('../observability/session-hash.js');
const { Availability } = require('./availability.js');
const { requestCredentials, followProvider } = require('./credentials.js');
const { ConnectionEvents } = require('./events.js');
const { locationOfUrl } = require('./location.js');

/** @import { EventEmitter } from 'node:events' */
/** @import { OptionError } from '../../index.js' */
/** @import { ProvidedCredentials, StoreOptions } from '../binding.js' */
/** @import { Backend, ClientTarget, CompletionQueue as Completions, RedisClient, Target } from '../types.d.ts' */

/** The queue that all current stores of this module share, so that one wake-up serves all of them. */
let sharedQueue = /** @type {Completions | undefined} */ (undefined);

function completionQueue() {
  if (sharedQueue === undefined || sharedQueue.isEnded) sharedQueue = new CompletionQueue();
  return sharedQueue;
}

/**
 * Creates the addon's store. Converts its errors to a TypeError, as for other invalid options.
 *
 * @param {StoreOptions} options
 * @param {Completions} completions
 */
function connect(options, completions) {
  try {
    return new Native(options, completions.native);
  } catch (error) {
    const { code, message } = /** @type {OptionError} */ (error);
    throw optionError(TypeError, code, message);
  }
}

/** The clients for which the app has been warned that they run commands. */
const warned = new WeakSet();

/**
 * Warns, once per client, which setting makes the client run the commands.
 *
 * @type {(client: RedisClient, reason: string) => void}
 */
function warn(client, reason) {
  if (warned.has(client)) return;
  warned.add(client);
  process.emitWarning(`RedisStore runs its commands on the app's client: ${reason}`, {
    code: 'REDIS_STORE_CLIENT_TRANSPORT',
    detail: "The option transport: 'client' asks for that, without a warning.",
  });
}

/**
 * The numbers of the connections of which the app has been warned that they cannot be established.
 *
 * @type {Set<number>}
 */
const unreachable = new Set();

/**
 * Warns, once per connection, about the failure of an attempt to connect that no listener would receive.
 *
 * @type {(number: number, error: Error) => void}
 */
function warnUnreachable(number, error) {
  if (unreachable.has(number)) return;
  unreachable.add(number);
  process.emitWarning(`RedisStore cannot connect: ${error.message}`, {
    code: 'REDIS_STORE_UNREACHABLE',
    detail: "A listener of the store's 'error' event replaces this warning.",
  });
}

/** Matches the addon's errors of attempts to connect that failed because of TLS. */
const TLS_FAILURE = /TLS handshake|certificate was not accepted/;

/** Returns true if a client is certainly connected. @param {RedisClient} client */
function isConnected({ isReady, isOpen, status }) {
  return isReady ?? isOpen ?? status === 'ready';
}

/**
 * The connection of a store, opened by the addon or provided by the app's client. Reports its state to the store. It is
 * closed while the app's client is closed, and opened again with the client.
 */
class Connection {
  #store;
  #client;
  #target;
  /** The backend that a client backend may replace; undefined once it has served. */
  #fallback;
  #hasServed = false;
  #hasFailed = false;
  #lifecycle;
  #errorLimit = new ErrorLimit();
  #trace = new ConnectionTrace('native', (id) => sessionHash(id, this.sessionHashKey));
  /** Undefined unless requests run without sessions while Redis is unreachable. */
  #availability;
  #unfollowClient = () => {};
  #unfollowProvider = () => {};
  status = 'connecting';
  /** The key of the hashes that name sessions; undefined for the default. @type {string | undefined} */
  sessionHashKey;

  /**
   * @param {EventEmitter} store
   * @param {RedisClient} client the app's, if there is one
   * @param {Target} target the result of `address`
   * @param {{ prefix: string, scanCount: number }} keys
   * @param {boolean} isOptional true to run requests without sessions while Redis is unreachable
   * @param {Record<'closed' | 'open', (store: any) => void>} lifecycle called with the store when its client is
   *   `closed` or `open`; must not reference a store
   */
  constructor(store, client, target, keys, isOptional, lifecycle) {
    this.#store = store;
    this.#client = client;
    this.#target = target;
    this.#lifecycle = lifecycle;
    this.transport = target.client ? 'client' : 'native';
    if (target.client) this.backend = new ClientBackend(/** @type {ClientTarget} */ (target), keys);
    else {
      const completions = completionQueue();
      /** The addon's store; undefined for the client backend. */
      this.native = connect({ ...target, ...keys, observed: observedKinds() }, completions);
      const outbox = new Outbox(this.native, completions, target.keyPrefix ?? '', keys.prefix);
      /** @type {Backend} */
      this.backend = outbox;
      if (target.fallback) {
        const backend = new FallbackBackend(outbox, keys.prefix);
        this.#fallback = { backend, target: target.fallback, keys };
        this.backend = backend;
      }
    }
    /** Where Redis is. The addon has checked the URL. */
    this.location = target.location ?? locationOfUrl(target.url?.text);
    if (isOptional) {
      this.#availability = new Availability((event) => store.emit(event));
      this.#availability.lost();
    }
    this.#begin();
    if (target.reason !== undefined) warn(client, target.reason);
    // The app closes its client when it shuts down, and our connection with it.
    if (client) this.#unfollowClient = followClient(store, client, lifecycle);
  }

  #begin() {
    // Held weakly by others, so that a store that the app has dropped is garbage collected together with this.
    this.backend.watch(new ConnectionEvents(this, Connection.#onEvent));
    const { renewals } = this.#target;
    if (renewals) this.#unfollowProvider = followProvider(renewals, this, Connection.#renew);
  }

  /**
   * Runs commands on the app's client, which is connected, because the addon's TLS handshake with the server fails:
   * Node supports more cipher suites and signatures. Returns false if that is not possible.
   *
   * @param {string} reason
   */
  #fallBack(reason) {
    if (this.#fallback === undefined || !TLS_FAILURE.test(reason) || !isConnected(this.#client)) return false;
    const { backend, target, keys } = this.#fallback;
    this.#target = target;
    this.#fallback = undefined;
    this.#unfollowProvider();
    this.transport = 'client';
    backend.replace(new ClientBackend(target, keys));
    this.#begin();
    warn(this.#client, reason);
    return true;
  }

  /** A first failure that the app might not notice: its own client would report failures itself. */
  get #isUnattended() {
    const isFirst = !this.#hasServed && !this.#hasFailed;
    return isFirst && this.#availability === undefined && this.transport === 'native';
  }

  /** The name of the app's client in error messages. */
  get clientName() {
    return `the app's ${nameOf(this.#client)}client`;
  }

  /** The app's client is certainly not closed. */
  get isClientOpen() {
    return isClosed(this.#client) === false;
  }

  /** Stops reports until `resume`, while the app's client is closed. */
  suspend() {
    this.#unfollowProvider();
    this.status = 'closed';
    this.#availability?.lost();
  }

  /**
   * Opens the connection again. If it is still open for operations in flight, it is kept, which preserves their order.
   */
  resume() {
    this.status = 'connecting';
    this.backend.reopen();
    this.#begin();
  }

  /** Stops all reports to the store. */
  detach() {
    this.#unfollowClient();
    this.#unfollowProvider();
    this.status = 'closed';
    this.#availability?.stop();
  }

  /** Releases the completions after all operations. Until then, its slot keeps them: credentials may be requested. */
  end() {
    this.backend.unwatch();
  }

  /**
   * Handles an event. Static, so that it references no store.
   *
   * @type {(connection: Connection, event: string, details?: any) => void}
   */
  static #onEvent(connection, event, details) {
    const store = connection.#store;
    if (event === 'observed') {
      connection.#trace.observe(details, connection.backend.server);
      return;
    }
    const error = details;
    // A closed store returns credentials as well: pending operations may wait for a connection.
    if (event === 'credentials') connection.#provideCredentials();
    if (connection.status === 'closed') return;
    if (connection.#client && hasEnded(connection.#client)) {
      connection.#lifecycle.closed(store);
      return;
    }
    if (event === 'credentials') return;
    if (event === 'error' && error && connection.#fallBack(error.message)) return;
    if (event === 'ready') {
      connection.status = 'ready';
      connection.#hasServed = true;
      connection.#keepNative();
      connection.#availability?.ready();
      connection.#errorLimit.reset();
      connection.#trace.leaveContext();
    } else if (event === 'reconnecting') {
      connection.status = 'reconnecting';
      connection.#availability?.lost();
    }
    // EventEmitter throws an 'error' without a listener.
    if (event !== 'error') store.emit(event, error);
    else if (store.listenerCount('error') > 0) {
      if (connection.#errorLimit.admits(error)) store.emit(event, error);
    } else if (connection.native && error && connection.#isUnattended)
      warnUnreachable(connection.native.connection, error);
    connection.#hasFailed ||= event === 'error';
  }

  /** A native connection that has served is not replaced any more. */
  #keepNative() {
    this.#fallback?.backend.keep();
    this.#fallback = undefined;
  }

  /** @param {Connection} connection @param {ProvidedCredentials} credentials */
  static #renew(connection, credentials) {
    connection.native?.renewCredentials(credentials);
  }

  async #provideCredentials() {
    const { credentials, failure } = await requestCredentials(this.#target.askForCredentials);
    this.native?.provideCredentials(credentials, failure);
  }
}

module.exports = { Connection };
