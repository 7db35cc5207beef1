'use strict';

const { CompletionQueue } = require('../boundary/completions.js');
const { RedisStore: Native } = require('../boundary/native.js');
const { followClient, hasEnded, isClosed } = require('../clients/closing.js');
const { coded } = require('../common/errors.js');
const { Availability } = require('./availability.js');
const { answerFor, followProvider } = require('./credentials.js');
const { Transport, nameOf } = require('./transport.js');
const { ConnectionEvents } = require('./events.js');

/** One for all stores of this module that are there at a time: one wake-up serves them all. */
let completions;

/** What the addon says of an option is a TypeError, like every other complaint about one. */
function connect(options) {
  if (completions === undefined || completions.isOver) completions = new CompletionQueue();
  try {
    return new Native(options, completions.native);
  } catch (error) {
    throw coded(TypeError, error.code, error.message);
  }
}

/** Clients of which the app has been told that they run commands. */
const warned = new WeakSet();

/** Reports once which setting has a client run the commands. */
function warn(client, reason) {
  if (warned.has(client)) return;
  warned.add(client);
  process.emitWarning(`RedisStore runs its commands on the app's client: ${reason}`, {
    code: 'REDIS_STORE_CLIENT_TRANSPORT',
    detail: "The option transport: 'client' asks for that, without a warning.",
  });
}

/** Of what the addon says of a failed attempt to connect: TLS alone is the cause. */
const TLS_FAILURE = /TLS handshake|certificate was not accepted/;

/** Returns true if a client is certainly connected. */
function isConnected({ isReady, isOpen, status }) {
  return isReady ?? isOpen ?? status === 'ready';
}

/**
 * A store's connection: opened by the addon, or the app's own client behind the addon. Tells the store how it is. It
 * ends while the app's client is closed, and is opened again with the client.
 */
class Connection {
  #store;
  #client;
  #where;
  #keys;
  #hasServed = false;
  #lifecycle;
  #availability;
  #leaveClient = () => {};
  #leaveProvider = () => {};
  status = 'connecting';

  /**
   * @param client the app's, if there is one
   * @param where what `address` gave
   * @param keys which of them the store has: `prefix` and `scanCount`
   * @param isOptional requests are to go on without sessions while Redis is away
   * @param lifecycle called with the store when its client is `closed` or `open`, or the connection was `replaced` by the
   *   client; must hold no store
   */
  constructor(store, client, where, keys, isOptional, lifecycle) {
    this.#store = store;
    this.#client = client;
    this.#where = where;
    this.#keys = keys;
    this.#lifecycle = lifecycle;
    this.native = connect({ ...where, ...keys });
    this.completions = completions;
    this.transport = where.client ? 'client' : 'native';
    if (isOptional) {
      this.#availability = new Availability((event) => store.emit(event));
      this.#availability.lost();
    }
    this.#begin();
    if (where.reason !== undefined) warn(client, where.reason);
    // The app ends its client when it shuts down; our connection goes with it.
    if (client) this.#leaveClient = followClient(store, client, lifecycle);
  }

  #begin() {
    const where = this.#where;
    if (where.client) {
      const transport = new Transport(this.#client, where);
      transport.begin(this.native.serve(this.completions.admit(transport)));
    }
    // A store that the app has forgotten is to be collected, and this with it: others hold it weakly.
    this.native.watch(this.completions.admit(new ConnectionEvents(this, Connection.#take)));
    if (where.renewals) this.#leaveProvider = followProvider(where.renewals, this, Connection.#renew);
  }

  /**
   * Runs commands on the app's client, which is connected, as the addon's TLS does not get on with the server: Node's
   * has more cipher suites and signatures. What waits is handed over, but for a cluster's.
   */
  #fallBack(reason) {
    this.#where = this.#where.fallback;
    this.#leaveProvider();
    this.native.replace({ ...this.#where, ...this.#keys }, this.completions.native);
    this.transport = 'client';
    this.#begin();
    this.#lifecycle.replaced(this.#store);
    warn(this.#client, reason);
  }

  #canFallBack(error) {
    const isPossible = this.#where.fallback !== undefined && !this.#hasServed;
    return isPossible && TLS_FAILURE.test(error.message) && isConnected(this.#client);
  }

  /** The app's client, as errors name it. */
  get clientName() {
    return `the app's ${nameOf(this.#client)}client`;
  }

  /** The app's client is certainly not closed. */
  get isClientOpen() {
    return isClosed(this.#client) === false;
  }

  /** Reports nothing until `resume`, while the app's client is closed. */
  suspend() {
    this.#leaveProvider();
    this.status = 'closed';
    this.#availability?.lost();
  }

  /** Opens the connection again. One that is still open, as operations are in flight, is kept: their order is. */
  resume() {
    this.status = 'connecting';
    this.native.reopen();
    this.#begin();
  }

  /** Nothing is to be told any more. */
  leave() {
    this.#leaveClient();
    this.#leaveProvider();
    this.status = 'closed';
    this.#availability?.stop();
  }

  /** Nothing is under way any more. Until then its place keeps the completions, for what has to be asked yet. */
  end() {
    this.native.unwatch();
  }

  /** Takes an event. Static, as it must hold no store. */
  static #take(connection, event, error) {
    const store = connection.#store;
    // By a closed store as well: what is under way may wait for a connection.
    if (event === 'credentials') connection.#giveCredentials();
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
    // EventEmitter throws an 'error' that nobody listens to.
    if (event !== 'error' || store.listenerCount('error') > 0) store.emit(event, error);
  }

  static #renew(connection, credentials) {
    connection.native.renewCredentials(credentials);
  }

  async #giveCredentials() {
    const { given, refusal } = await answerFor(this.#where.askForCredentials);
    this.native.giveCredentials(given, refusal);
  }
}

module.exports = { Connection };
