'use strict';

const { RedisStore } = require('../..');
const { HANG_MS, until } = require('./until.js');

const nodeRedis = (packageName) => ({
  async connect(port, settings) {
    const { createClient } = require(packageName);
    const { socket, ...options } = settings;
    const client = createClient({ ...options, socket: { host: '127.0.0.1', port, ...socket } });
    await listen(client).connect();
    return client;
  },
  async end(client) {
    if (client.isOpen) await client.disconnect();
  },
});

const ioredis = (packageName) => ({
  async connect(port, settings) {
    const Redis = require(packageName);
    const client = listen(new Redis({ host: '127.0.0.1', port, ...settings, lazyConnect: true }));
    await client.connect();
    return client;
  },
  async end(client) {
    if (client.status === 'reconnecting') {
      // Between two connections, there is none whose end could be reported.
      client.disconnect();
    } else if (client.status !== 'end') {
      const ended = new Promise((resolve) => client.once('end', resolve));
      client.disconnect();
      await ended;
    }
  },
});

// Some suites stop the server: a client's 'error' without a listener would end the process.
function listen(client) {
  return client.on('error', () => {});
}

const kinds = {
  redis4: nodeRedis('redis4'),
  redis5: nodeRedis('redis5'),
  redis6: nodeRedis('redis'),
  ioredis4: ioredis('ioredis4'),
  ioredis5: ioredis('ioredis5'),
  ioredis6: ioredis('ioredis'),
  iovalkey: ioredis('iovalkey'),
};

/** Every standalone client whose settings a store can read. */
const clientKinds = Object.keys(kinds);

/** Every way to specify where Redis is. */
const sources = ['url', ...clientKinds];

/** One source of each family, for suites whose subject is not the client. */
const familySources = ['url', 'redis6', 'ioredis6'];

const opened = { stores: [], clients: [] };

/** Opens a connected client of `kind`, with `settings` for its constructor, which `closeAll` closes. */
async function openClient(kind, port, settings = {}) {
  const client = await kinds[kind].connect(port, settings);
  opened.clients.push({ kind, client });
  return client;
}

/**
 * Opens a store with `options` on the Redis at `port` of this machine, specified by `source`; `closeAll` closes it. By
 * default, only a hang exceeds its `commandTimeout`.
 */
async function openStore(source, port, options = {}) {
  const where =
    source === 'url' ? { url: `redis://127.0.0.1:${port}` } : { client: await openClient(source, port) };
  return keepStore(new RedisStore({ ...where, commandTimeout: HANG_MS, ...options }));
}

/** Makes `closeAll` close a store that the caller created, of this class or a subclass. */
function keepStore(store) {
  opened.stores.push(store);
  return store;
}

/** Resolves when operations of a store succeed again. */
function served(store) {
  return until(() =>
    store.get('nobody').then(
      () => true,
      () => false,
    ),
  );
}

/** Closes what was opened since the last call, stores before the clients that they use. */
async function closeAll() {
  await Promise.all(opened.stores.splice(0).map((store) => store.close()));
  await Promise.all(opened.clients.splice(0).map(({ kind, client }) => kinds[kind].end(client)));
}

/** The two ways to call a method of a store, as functions that return a promise of its result. */
const styles = {
  promise: (store, method, ...args) => store[method](...args),
  callback: (store, method, ...args) =>
    new Promise((resolve, reject) => {
      store[method](...args, (error, result) => (error ? reject(error) : resolve(result)));
    }),
};

/** Returns a callback that records the arguments of its calls, and `called`, a promise of the first ones. */
function recordCalls() {
  const calls = [];
  let first;
  const called = new Promise((resolve) => {
    first = resolve;
  });
  const callback = (...args) => {
    calls.push(args);
    first(args);
  };
  return { calls, called, callback };
}

module.exports = {
  clientKinds,
  sources,
  familySources,
  styles,
  openClient,
  openStore,
  keepStore,
  served,
  closeAll,
  recordCalls,
};
