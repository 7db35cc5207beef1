'use strict';

// The stores that are compared, each with its package's default settings and its own Redis database, so that they share
// the server and the key prefix but no keys.

const { tracingChannel } = require('node:diagnostics_channel');
const session = require('express-session');

/** The key of an app without sessions. */
const NO_STORE = 'none';

async function openNative(redisUrl, { database = 1, ...options } = {}) {
  const { RedisStore } = require('connect-redis-native');
  const store = new RedisStore({ url: `${redisUrl}/${database}`, ...options });
  return { store, close: () => store.close() };
}

/** A subscriber of each operation, which measures it as a tracer does. */
async function openTraced(redisUrl) {
  const subscriber = {
    start(message) {
      message.began = performance.now();
    },
    asyncEnd(message) {
      message.duration = performance.now() - message.began;
    },
  };
  for (const operation of ['get', 'set', 'touch'])
    tracingChannel(`connect-redis-native:${operation}`).subscribe(subscriber);
  return openNative(redisUrl);
}

async function openNear(redisUrl, options) {
  const { RedisStore } = require('connect-redis-native');
  const store = new RedisStore({ url: `${redisUrl}/4`, cache: true, ...options });
  return { store, close: () => store.close() };
}

async function openNodeRedis(redisUrl) {
  const { RedisStore } = require('connect-redis10');
  const { createClient } = require('redis');
  const client = createClient({ url: `${redisUrl}/2` });
  await client.connect();
  return { store: new RedisStore({ client }), close: () => client.close() };
}

async function openIoredis(redisUrl) {
  const { RedisStore } = require('connect-redis8');
  const { Redis } = require('ioredis');
  const client = new Redis(`${redisUrl}/3`);
  return { store: new RedisStore({ client }), close: () => client.quit() };
}

async function openMemory() {
  return { store: new session.MemoryStore(), close: async () => {} };
}

// Does nothing and completes all pending calls at once in the next turn of the event loop: what is measured with it is
// the cost of measuring.
class EmptyStore extends session.Store {
  #callbacks = [];
  #session;

  #answer = () => {
    const callbacks = this.#callbacks;
    this.#callbacks = [];
    for (const callback of callbacks) callback(null, this.#session);
  };

  #later(callback) {
    if (this.#callbacks.push(callback) === 1) setImmediate(this.#answer);
  }

  get(_sid, callback) {
    this.#later(callback);
  }

  set(_sid, stored, callback) {
    this.#session ??= JSON.parse(JSON.stringify(stored));
    this.#later(callback);
  }

  touch(_sid, _session, callback) {
    this.#later(callback);
  }

  // express-session's own store changes the session that it receives, of which there is only one here.
  createSession(req, session) {
    return super.createSession(req, structuredClone(session));
  }
}

async function openEmpty() {
  return { store: new EmptyStore(), close: async () => {} };
}

const stores = {
  native: { label: 'connect-redis-native', open: openNative },
  'connect-redis10': { label: 'connect-redis 10, redis 6', open: openNodeRedis, peer: true },
  'connect-redis8': { label: 'connect-redis 8.1, ioredis 6', open: openIoredis, peer: true },
  memory: { label: 'MemoryStore', open: openMemory },
};

// Another checkout of this project, built, such as that of the commit before a change.
const baseline = process.env.BENCH_BASELINE;
if (baseline)
  stores.baseline = {
    label: 'baseline',
    open: async (redisUrl) => {
      const { RedisStore } = require(baseline);
      const store = new RedisStore({ url: `${redisUrl}/5` });
      return { store, close: () => store.close() };
    },
  };

const empty = { label: 'empty store (the cost of measuring)', open: openEmpty };

// Not part of the comparison, but available on request.
const others = {
  empty,
  'native, unattached': { label: 'connect-redis-native, without express-session', open: openNative },
  traced: { label: 'connect-redis-native, one subscriber', open: openTraced },
  indexed: {
    label: 'connect-redis-native, userId',
    open: (redisUrl) => openNative(redisUrl, { database: 6, userId: ({ passport }) => passport.user }),
  },
  limited: {
    label: 'connect-redis-native, maxLifetime, idleTimeout',
    open: (redisUrl) => openNative(redisUrl, { database: 7, maxLifetime: 7 * 86_400, idleTimeout: 86_400 }),
  },
  near: { label: 'connect-redis-native, cache', open: openNear },
  'near, touchAfter': {
    label: 'connect-redis-native, cache, touchAfter',
    open: (redisUrl) => openNear(redisUrl, { touchAfter: 60 }),
  },
};

/** Returns the name of the store of that key, as tables and charts show it. */
function labelOf(key) {
  if (key === NO_STORE) return 'no sessions at all';
  return (stores[key] ?? others[key]).label;
}

/** Opens the store of that key. Returns `{ store, close }`. */
function openStore(key, redisUrl) {
  return (stores[key] ?? others[key]).open(redisUrl);
}

module.exports = { NO_STORE, labelOf, openStore, others, stores };
