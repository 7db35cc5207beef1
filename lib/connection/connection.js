'use strict';

const { CompletionQueue } = require('../boundary/completions.js');
const { RedisStore: Native } = require('../boundary/native.js');
const { followClient, hasEnded, isClosed } = require('../clients/closing.js');
const { coded } = require('../common/errors.js');
const { Availability } = require('./availability.js');
const { requestCredentials, followProvider } = require('./credentials.js');
const { Transport, nameOf } = require('./transport.js');
const { ConnectionEvents } = require('./events.js');

/** The queue that all current stores of this module share, so that one wake-up serves all of them. */
let completions;

/** Creates the addon's store. Converts its errors to a TypeError, as for other invalid options. */
function connect(options) {
  if (completions === undefined || completions.isEnded) completions = new CompletionQueue();
  try {
    return new Native(options, completions.native);
  } catch (error) {
    throw coded(TypeError, error.code, error.message);
  }
}

/** The clients for which the app has been warned that they run commands. */
const warned = new WeakSet();

/** Warns, once per client, which setting makes the client run the commands. */
function warn(client, reason) {
  if (warned.has(client)) return;
  warned.add(client);
  process.emitWarning(`RedisStore runs its commands on the app's client: ${reason}`, {
    code: 'REDIS_STORE_CLIENT_TRANSPORT',
    detail: "The option transport: 'client' asks for that, without a warning.",
  });
}

/** The numbers of the connections of which the app has been warned that they cannot be established. */
const unreachable = new Set();

/** Warns, once per connection, about the failure of an attempt to connect that no listener would receive. */
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

/** Returns true if a client is certainly connected. */
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
  #keys;
  #hasServed = false;
  #hasFailed = false;
  #lifecycle;
  #availability;
  #unfollowClient = () => {};
  #unfollowProvider = () => {};
  status = 'connecting';

  /**
   * @param client the app's, if there is one
   * @param target the result of `address`
   * @param keys the `prefix` and `scanCount` of the store
   * @param isOptional true to run requests without sessions while Redis is unreachable
   * @param lifecycle called with the store when its client is `closed` or `open`, or the connection was `replaced` by
   * the
   *   client; must not reference a store
   */
  constructor(store, client, target, keys, isOptional, lifecycle) {
    this.#store = store;
    this.#client = client;
    this.#target = target;
    this.#keys = keys;
    this.#lifecycle = lifecycle;
    this.native = connect({ ...target, ...keys });
    this.completions = completions;
    this.transport = target.client ? 'client' : 'native';
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
    const target = this.#target;
    if (target.client) {
      const transport = new Transport(this.#client, target);
      transport.begin(this.native.serve(this.completions.register(transport)));
    }
    // Held weakly by others, so that a store that the app has dropped is garbage collected together with this.
    this.native.watch(this.completions.register(new ConnectionEvents(this, Connection.#onEvent)));
    if (target.renewals) this.#unfollowProvider = followProvider(target.renewals, this, Connection.#renew);
  }

  /**
   * Runs commands on the app's client, which is connected, because the addon's TLS handshake with the server fails:
   * Node supports more cipher suites and signatures. Waiting operations are transferred, except those of a cluster.
   */
  #fallBack(reason) {
    this.#target = this.#target.fallback;
    this.#unfollowProvider();
    this.native.replace({ ...this.#target, ...this.#keys }, this.completions.native);
    this.transport = 'client';
    this.#begin();
    this.#lifecycle.replaced(this.#store);
    warn(this.#client, reason);
  }

  /** A first failure that the app might not notice: its own client would report failures itself. */
  get #isUnattended() {
    const isFirst = !this.#hasServed && !this.#hasFailed;
    return isFirst && this.#availability === undefined && this.transport === 'native';
  }

  #canFallBack(error) {
    const isPossible = this.#target.fallback !== undefined && !this.#hasServed;
    return isPossible && TLS_FAILURE.test(error.message) && isConnected(this.#client);
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
    this.native.reopen();
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
    this.native.unwatch();
  }

  /** Handles an event. Static, so that it references no store. */
  static #onEvent(connection, event, error) {
    const store = connection.#store;
    // A closed store returns credentials as well: pending operations may wait for a connection.
    if (event === 'credentials') connection.#provideCredentials();
    if (connection.status === 'closed') return;
    if (connection.#client && hasEnded(connection.#client)) {
      connection.#lifecycle.closed(store);
      return;
    }
    if (event === 'credentials') return;
    if (event === 'error' && connection.#canFallBack(error)) {
      connection.#fallBack(error.message);
      return;
    }
    if (event === 'ready') {
      connection.status = 'ready';
      connection.#hasServed = true;
      connection.#availability?.ready();
    } else if (event === 'reconnecting') {
      connection.status = 'reconnecting';
      connection.#availability?.lost();
    }
    // EventEmitter throws an 'error' without a listener.
    if (event !== 'error' || store.listenerCount('error') > 0) store.emit(event, error);
    else if (connection.#isUnattended) warnUnreachable(connection.native.connection, error);
    connection.#hasFailed ||= event === 'error';
  }

  static #renew(connection, credentials) {
    connection.native.renewCredentials(credentials);
  }

  async #provideCredentials() {
    const { credentials, failure } = await requestCredentials(this.#target.askForCredentials);
    this.native.giveCredentials(credentials, failure);
  }
}

module.exports = { Connection };
