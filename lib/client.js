'use strict';

const { wrongType, wrongValue } = require('./errors.js');
const { tlsSettings } = require('./tls.js');

const CLIENT = 'The "client" option';
const EXPECTED = 'a standalone client of redis (4 to 6), ioredis (4 to 6) or iovalkey';
/** TLS settings of Node that a connection made elsewhere cannot have. */
const NOT_CARRIED = ['checkServerIdentity', 'secureContext', 'pfx', 'passphrase'];

/**
 * Reads a live client's settings, in the form that the addon takes. Detected by features: clients are
 * often facades, or come from another copy of their package.
 * @throws {TypeError} if it is no client, or one whose settings cannot be carried over.
 */
function adoptSettings(client) {
  if (typeof client !== 'object') throw wrongType(CLIENT, EXPECTED, client);
  const unsupported = (what) => wrongValue(CLIENT, `${EXPECTED}, not ${what}`, undefined);
  if (client.isCluster || client.masters !== undefined) return refuse(unsupported('a cluster'));
  if (typeof client.getSentinelNode === 'function') return refuse(unsupported('a sentinel client'));
  // ioredis-mock keeps its data in the process: there is no server to connect to.
  if (client.options?.data !== undefined && client.constructor?.name === '_RedisMock')
    return refuse(unsupported('a mock'));
  if (typeof client.call === 'function' && client.options) return fromIoredis(client, unsupported);
  if (typeof client.sendCommand === 'function' && typeof client.isOpen === 'boolean')
    return fromNodeRedis(client, unsupported);
  throw wrongType(CLIENT, EXPECTED, client);
}

function refuse(error) {
  throw error;
}

/** ioredis and iovalkey: `path` wins over `host`; after `SELECT` the database is in `condition`. */
function fromIoredis(client, unsupported) {
  const { options } = client;
  if (options.sentinels?.length) throw unsupported('one that uses sentinels');
  if (options.Connector !== undefined) throw unsupported('one with a connector of its own');
  return {
    keyPrefix: options.keyPrefix || undefined,
    settings: {
      ...(options.path ? { path: options.path } : place(options.host, options.port)),
      database: Number(client.condition?.select ?? options.db ?? 0),
      ...credentials(options),
      tls: options.tls ? tls(options.tls === true ? {} : options.tls, options.host, unsupported) : undefined,
    },
  };
}

/** node-redis: a URL is already decoded into the other fields; absent ones mean the defaults. */
function fromNodeRedis(client, unsupported) {
  const options = client.options ?? {};
  const socket = options.socket ?? {};
  if (options.credentialsProvider && options.password === undefined && options.username === undefined)
    throw unsupported('one with a credentialsProvider instead of a password');
  return {
    keyPrefix: options.keyPrefix || undefined,
    settings: {
      ...(socket.path ? { path: socket.path } : place(socket.host, socket.port)),
      database: Number(options.database ?? 0),
      ...credentials(options),
      tls: socket.tls
        ? tls(socket.tls === true ? socket : { ...socket, ...socket.tls }, socket.host, unsupported)
        : undefined,
    },
  };
}

function place(host, port) {
  return { host: host || 'localhost', port: Number(port ?? 6379) };
}

function credentials({ username, password }) {
  // Redis takes a user only with a password; ioredis and node-redis ignore a user alone, too.
  if (password === undefined || password === null || password === '') return {};
  return { username: username || undefined, password: { text: String(password) } };
}

function tls(options, host, unsupported) {
  const lost = NOT_CARRIED.find((option) => options[option] !== undefined);
  if (lost !== undefined) throw unsupported(`one with the TLS setting "${lost}"`);
  return tlsSettings({ ...options, servername: options.servername || host });
}

/** The stores of each client: one listener per client, however many stores share it. */
const storesOf = new WeakMap();
const forgotten = new FinalizationRegistry((leave) => leave());

/**
 * Closes the store when the client ends. The store is held weakly: an app may forget it while the client
 * lives on.
 * @returns a function that takes this back
 */
function closeWithClient(store, client) {
  if (typeof client.on !== 'function') return () => {};
  let entry = storesOf.get(client);
  if (entry === undefined) {
    const stores = new Set();
    const listener = () => {
      for (const reference of [...stores]) reference.deref()?.close();
    };
    entry = { stores, listener };
    storesOf.set(client, entry);
    client.on('end', listener);
  }
  const { stores, listener } = entry;
  const reference = new WeakRef(store);
  stores.add(reference);
  const leave = () => {
    stores.delete(reference);
    if (stores.size > 0 || storesOf.get(client) !== entry) return;
    storesOf.delete(client);
    client.off('end', listener);
  };
  forgotten.register(store, leave);
  return leave;
}

module.exports = { adoptSettings, closeWithClient };
