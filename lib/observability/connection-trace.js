'use strict';

const { AsyncResource } = require('node:async_hooks');
const { channel, tracingChannel } = require('node:diagnostics_channel');
const { fromNative } = require('../common/store-error.js');
const { outside } = require('../common/outside.js');
const { hasSubscribers } = require('./channels.js');
const { isLogging, logObservation } = require('./debug-log.js');

/** @import { ConnectContext } from '../../index.js' */
/** @import { Observation } from '../types.d.ts' */

const connect = tracingChannel('connect-redis-native:connect');
const ready = channel('connect-redis-native:connection:ready');
const closed = channel('connect-redis-native:connection:closed');
const invalidation = channel('connect-redis-native:cache:invalidation');
const eviction = channel('connect-redis-native:cache:eviction');

/** The kinds of observations, which core/src/observers.rs has as well. */
const Kinds = { LINKS: 1, CHANGES: 2, INVALIDATIONS: 4, EVICTIONS: 8 };
const ALL = Object.values(Kinds).reduce((sum, kind) => sum + kind, 0);

/** Returns the sum of the kinds that the debug log or a subscriber wants at present. */
function observedKinds() {
  if (isLogging) return ALL;
  let kinds = 0;
  if (ready.hasSubscribers || closed.hasSubscribers || hasSubscribers(connect)) kinds += Kinds.LINKS;
  if (invalidation.hasSubscribers) kinds += Kinds.INVALIDATIONS;
  if (eviction.hasSubscribers) kinds += Kinds.EVICTIONS;
  return kinds;
}

/** Destroyed at once, as `outside` is: tools that detect open handles would report it. */
const MANUAL = { requireManualDestroy: true };

/** Publishes the observations of a connection, and passes them to the debug log. */
class ConnectionTrace {
  /**
   * Subscribers run in the async context in which the store was created, until it is connected: a later reconnection
   * is not part of what created the store, and must not keep that context in memory.
   */
  #scope = observedKinds() === 0 ? outside : new AsyncResource('RedisStore', MANUAL).emitDestroy();
  #transport;
  #hash;
  /** The attempts in progress, by the server's name. @type {Map<string, ConnectContext>} */
  #attempts = new Map();

  /** @param {'native' | 'client'} transport @param {(id: string) => string} [hash] names a session */
  constructor(transport, hash = () => '') {
    this.#transport = transport;
    this.#hash = hash;
  }

  /** The connection is ready. */
  leaveContext() {
    this.#scope = outside;
  }

  /** Handles an observation; `server` is the connection's name in errors. @param {Observation} facts @param {string} server */
  observe(facts, server) {
    const { key, error } = facts;
    facts.server ??= server;
    if (key !== undefined) facts.sessionHash = this.#hash(key);
    if (typeof error === 'string') facts.error = fromNative(error);
    logObservation(facts);
    this.#scope.runInAsyncScope(this.#publish, this, facts);
  }

  /** @param {Observation} facts */
  #publish({ event, server = '', attempt = 0, reason, error, software, sessionHash, ...place }) {
    const { serverAddress, serverPort, database } = place;
    const where = {
      serverAddress: serverAddress ?? undefined,
      serverPort: serverPort ?? undefined,
      database,
      transport: this.#transport,
    };
    if (event === 'connecting') this.#begin(server, { ...where, attempt });
    else if (event === 'connected') {
      this.#end(server, where);
      if (ready.hasSubscribers) ready.publish({ ...where, version: software?.[1] });
    } else if (event === 'connectFailed') this.#end(server, { error });
    else if (event === 'disconnected' && closed.hasSubscribers)
      closed.publish({ ...where, reason, ...(error ? { error } : {}) });
    else if (event === 'invalidated' && invalidation.hasSubscribers) invalidation.publish({ sessionHash });
    else if (event === 'evicted' && eviction.hasSubscribers) eviction.publish({ sessionHash });
  }

  /** @param {string} server @param {ConnectContext} context */
  #begin(server, context) {
    if (!hasSubscribers(connect)) return;
    this.#attempts.set(server, context);
    connect.start.publish(context);
    connect.end.publish(context);
  }

  /** @param {string} server @param {Partial<ConnectContext>} result */
  #end(server, result) {
    const context = this.#attempts.get(server);
    if (context === undefined) return;
    this.#attempts.delete(server);
    Object.assign(context, result);
    if (context.error) connect.error.publish(context);
    connect.asyncStart.publish(context);
    connect.asyncEnd.publish(context);
  }
}

module.exports = { ConnectionTrace, Kinds, observedKinds };
