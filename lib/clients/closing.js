'use strict';

const { isGivenUp, isIoredis } = require('./ioredis.js');

/** The stores of each client: one listener per client, however many stores share it. */
const storesOf = new WeakMap();
const forgotten = new FinalizationRegistry((leave) => leave());

/** By which a client says that the app has ended it; a cluster of redis has a name of its own. */
function endEvent(client) {
  return Array.isArray(client.masters) ? 'disconnect' : 'end';
}

/** Whether the app has ended a client that did not say so. */
function hasEnded(client) {
  return isIoredis(client) && isGivenUp(client);
}

/**
 * Closes the store when the client ends. The store is held weakly: an app may forget it while the client
 * lives on.
 * @returns a function that takes this back
 */
function closeWithClient(store, client) {
  if (typeof client.on !== 'function') return () => {};
  const event = endEvent(client);
  let entry = storesOf.get(client);
  if (entry === undefined) {
    const stores = new Set();
    const listener = () => {
      for (const reference of [...stores]) reference.deref()?.close();
    };
    entry = { stores, listener };
    storesOf.set(client, entry);
    client.on(event, listener);
  }
  const { stores, listener } = entry;
  const reference = new WeakRef(store);
  stores.add(reference);
  const leave = () => {
    stores.delete(reference);
    // A wrapper may not take listeners back: the one that it has then serves the client's next store.
    if (stores.size > 0 || storesOf.get(client) !== entry || typeof client.off !== 'function') return;
    storesOf.delete(client);
    client.off(event, listener);
  };
  forgotten.register(store, leave);
  return leave;
}

module.exports = { endEvent, hasEnded, closeWithClient };
