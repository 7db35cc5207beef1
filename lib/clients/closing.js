'use strict';

const { errorMonitor } = require('node:events');
const { isGivenUp, isIoredis } = require('./ioredis.js');
const { isNodeRedis } = require('./node-redis.js');

/** The stores of each client: one set of listeners per client, however many stores share it. */
const storesOf = new WeakMap();
const forgotten = new FinalizationRegistry((leave) => leave());

/**
 * Events after which a known client may be closed, or open again. Clients of redis 4 and 5 report by an `error` alone
 * that they have given up reconnecting.
 */
const STATE_EVENTS = ['connecting', 'connect', 'ready', 'close', 'disconnecting', errorMonitor];
/** Events after which an object of another kind is open again. */
const OPEN_EVENTS = ['connect', 'ready'];

/** By which a client says that the app has ended it; a cluster of redis has a name of its own. */
function endEvent(client) {
  return Array.isArray(client.masters) ? 'disconnect' : 'end';
}

/** Whether the app has ended a client that did not say so. */
function hasEnded(client) {
  return isIoredis(client) && isGivenUp(client);
}

const isKnown = (client) => isIoredis(client) || isNodeRedis(client);

/**
 * Returns true while a client is closed or has given up reconnecting: it runs nothing until the app connects it again.
 * Undefined if its state does not tell. Clusters of ioredis 6 have the status "close" also after their "end".
 */
function isClosed(client) {
  if (isIoredis(client)) {
    if (client.status === 'end' || isGivenUp(client)) return true;
    return client.status === 'close' || client.status === 'disconnecting' ? undefined : false;
  }
  return typeof client.isOpen === 'boolean' ? !client.isOpen : undefined;
}

/**
 * Reports to a store when its client is closed, and when it is open again; each may be called any number of times. The
 * store is held weakly: an app may forget it while the client lives on.
 *
 * @param {{ closed: (store: object) => void, open: (store: object) => void }} report
 * @returns a function that takes this back
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
  const leave = () => {
    entry.stores.delete(member);
    // A wrapper may not take listeners back: the ones that it has then serve the client's next store.
    if (entry.stores.size > 0 || storesOf.get(client) !== entry || typeof client.off !== 'function') return;
    storesOf.delete(client);
    for (const [event, listener] of entry.listeners) client.off(event, listener);
  };
  forgotten.register(store, leave);
  return leave;
}

function listen(client, { stores, listeners }) {
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
