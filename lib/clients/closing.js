'use strict';

const { errorMonitor } = require('node:events');
const { isGivenUp, isIoredis } = require('./ioredis.js');
const { isNodeRedis } = require('./node-redis.js');

/** @import { RedisClient } from '../types.d.ts' */

/**
 * The stores of a client and the listeners on it.
 *
 * @typedef {object} Followers
 * @property {Set<{ reference: WeakRef<object>, report: Report }>} stores
 * @property {[event: string | symbol, listener: () => void][]} listeners
 */

/** @typedef {Record<'closed' | 'open', (store: any) => void>} Report */

/**
 * The stores of each client: one set of listeners per client, however many stores share it.
 *
 * @type {WeakMap<object, Followers>}
 */
const storesOf = new WeakMap();
/** @type {FinalizationRegistry<() => void>} */
const collected = new FinalizationRegistry((unfollow) => unfollow());

/**
 * Events after which a known client may be closed, or open again. Clients of redis 4 and 5 report by an `error` alone
 * that they have given up reconnecting.
 */
const STATE_EVENTS = ['connecting', 'connect', 'ready', 'close', 'disconnecting', errorMonitor];
/** Events after which an object of another kind is open again. */
const OPEN_EVENTS = ['connect', 'ready'];

/**
 * Returns the event by which a client reports that the app has closed it; a cluster of redis uses another one.
 *
 * @param {RedisClient} client
 */
function endEvent(client) {
  return Array.isArray(client.masters) ? 'disconnect' : 'end';
}

/** Returns true if the app has closed a client that did not report it. @param {RedisClient} client */
function hasEnded(client) {
  return isIoredis(client) && isGivenUp(client);
}

const isKnown = (/** @type {RedisClient} */ client) => isIoredis(client) || isNodeRedis(client);

/**
 * Returns true while a client is closed or has given up reconnecting: it runs nothing until the app connects it again.
 * Returns undefined if its state is ambiguous. Clusters of ioredis 6 have the status "close" also after their "end".
 *
 * @param {RedisClient} client
 */
function isClosed(client) {
  if (isIoredis(client)) {
    if (client.status === 'end' || isGivenUp(client)) return true;
    return client.status === 'close' || client.status === 'disconnecting' ? undefined : false;
  }
  return typeof client.isOpen === 'boolean' ? !client.isOpen : undefined;
}

/**
 * Reports to a store when its client is closed, and when it is open again; may report the same state repeatedly. Holds
 * the store weakly: an app may drop it while the client remains in use.
 *
 * @type {(store: object, client: RedisClient, report: Report) => () => void}
 * @returns a function that stops the reports
 */
function followClient(store, client, report) {
  if (typeof client.on !== 'function') return () => {};
  let entry = storesOf.get(client);
  if (entry === undefined) {
    entry = { stores: new Set(), listeners: [] };
    storesOf.set(client, entry);
    listen(client, entry);
  }
  const member = { reference: new WeakRef(store), report };
  entry.stores.add(member);
  const unfollow = () => {
    entry.stores.delete(member);
    // A wrapper may have no `off`: its listeners then serve the client's next store.
    if (entry.stores.size > 0 || storesOf.get(client) !== entry || typeof client.off !== 'function') return;
    storesOf.delete(client);
    for (const [event, listener] of entry.listeners) client.off(event, listener);
  };
  collected.register(store, unfollow);
  return unfollow;
}

/** @param {RedisClient} client @param {Followers} followers */
function listen(client, { stores, listeners }) {
  /** @type {(event: string | symbol, byDefault: boolean | undefined) => void} */
  const add = (event, byDefault) => {
    const listener = () => {
      const closed = isClosed(client) ?? byDefault;
      if (closed === undefined) return;
      const state = closed ? 'closed' : 'open';
      for (const { reference, report } of [...stores]) {
        const store = reference.deref();
        if (store !== undefined) report[state](store);
      }
    };
    listeners.push([event, listener]);
    client.on(event, listener);
  };
  add(endEvent(client), true);
  if (isKnown(client)) for (const event of STATE_EVENTS) add(event, undefined);
  else for (const event of OPEN_EVENTS) add(event, false);
}

module.exports = { endEvent, hasEnded, isClosed, followClient };
