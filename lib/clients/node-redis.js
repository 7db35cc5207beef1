'use strict';

const { LARGEST_U32 } = require('../common/limits.js');
const { Passwordless, dispose } = require('../connection/credentials.js');
const settings = require('./settings.js');

const { NotCarried } = settings;
const DEFAULT_CONNECT_TIMEOUT = 5000;

/** @import { Account, ClientSettings, OfflineLimits, RedisClient, StreamingProvider } from '../types.d.ts' */
/** @typedef {(client: RedisClient) => boolean} Test */

/**
 * A function per provider and handshake: stores share a connection if they have the same function.
 *
 * @type {Record<'hello' | 'other', WeakMap<object, () => Promise<unknown>>>}
 */
const credentialsOf = { hello: new WeakMap(), other: new WeakMap() };

/** Returns true for node-redis 4 to 6: a client, a pool, a cluster or a sentinel. @type {Test} */
function isNodeRedis(client) {
  return typeof client.sendCommand === 'function' && typeof client.isOpen === 'boolean';
}

/** Returns the form of `sendCommand`. @param {RedisClient} client */
function commandForm(client) {
  if (isCluster(client)) return 'sendCommand(key, isReadonly, args)';
  if (client.options?.legacyMode === true) return 'v4.sendCommand(args)';
  return isSentinel(client) ? 'sendCommand(isReadonly, args)' : 'sendCommand(args)';
}

/** @type {Test} */
const isCluster = (client) => Array.isArray(client.masters);
/** @type {Test} */
const isSentinel = (client) => typeof client.getSentinelNode === 'function';
/** @type {Test} */
const isPool = (client) => typeof client.execute === 'function' && 'totalClients' in client;

/** @param {RedisClient} client */
function describeNodeRedis(client) {
  if (isSentinel(client)) throw new NotCarried('a sentinel client of redis keeps its settings to itself');
  // Its clients have them, but the first one is created later than the store, which reports its transport immediately.
  if (isPool(client)) throw new NotCarried('a pool of redis keeps its settings to itself');
  if (isCluster(client)) return cluster(client);
  // A client that was created without options may have none; a wrapper lacks the field.
  if (!('options' in client)) throw new NotCarried('its settings are not where those of redis are');
  return standalone(client, client.options ?? {});
}

/**
 * Describes a single server. The client has already parsed a URL into the other fields; absent ones mean the defaults.
 *
 * @type {(client: RedisClient, options: any) => ClientSettings}
 */
function standalone(client, options) {
  const socket = options.socket ?? {};
  return {
    topology: 'standalone',
    nodes: [socket.path ? { path: socket.path } : settings.node(socket.host, socket.port)],
    database: Number(options.database ?? 0),
    ...common(options, account(client, options, options)),
  };
}

/** @param {RedisClient} client @returns {ClientSettings} */
function cluster(client) {
  const options = client._options;
  // redis 4. After it has connected, its clients have some of the settings, but not the nodeAddressMap.
  if (options === undefined) throw new NotCarried('a cluster of redis 4 keeps its settings to itself');
  /** @type {any[]} */
  const starts = options.rootNodes.map(rootNode);
  const defaults = options.defaults ?? {};
  const withAccount = (/** @type {any} */ each) => each.password || each.credentialsProvider;
  const withUser = [defaults, ...starts].find(withAccount) ?? defaults;
  const socket = { ...starts.find(({ socket: { tls } }) => tls)?.socket, ...defaults.socket };
  return {
    topology: 'cluster',
    nodes: starts.map(({ socket: { host, port } }) => settings.node(host, port)),
    natMap: settings.natMap(options.nodeAddressMap, 'nodeAddressMap'),
    database: Number(defaults.database ?? 0),
    ...common(
      { ...defaults, socket, keyPrefix: options.keyPrefix ?? defaults.keyPrefix },
      account(client, options, withUser),
    ),
  };
}

/** Returns a root node with its URL, if it has one, parsed. @param {any} node */
function rootNode({ url, ...options }) {
  if (url === undefined) return { ...options, socket: options.socket ?? {} };
  const { host, port, tls, ...account } = settings.fromUrl(url);
  return { ...options, ...account, socket: { ...options.socket, host, port, ...(tls && { tls }) } };
}

/** @param {any} options @param {Account} account */
function common(options, account) {
  const { socket = {}, commandOptions, keyPrefix } = options;
  if (typeof socket.lookup === 'function') throw new NotCarried('its socket.lookup is a function');
  const bound = ['localAddress', 'localPort'].find((setting) => socket[setting] != null);
  if (bound !== undefined) throw new NotCarried(`its socket.${bound} cannot be carried over`);
  return {
    ...account,
    tls: tlsOf(socket),
    keyPrefix: settings.keyPrefix(keyPrefix),
    connectTimeout: settings.milliseconds(socket.connectTimeout, DEFAULT_CONNECT_TIMEOUT),
    commandTimeout: settings.milliseconds(commandOptions?.timeout),
  };
}

/** @param {RedisClient} client @returns {OfflineLimits} */
function offlineLimits(client) {
  const options = client.options ?? client._options?.defaults ?? {};
  const { disableOfflineQueue, commandsQueueMaxLength: most } = options;
  return {
    failsOffline: disableOfflineQueue === true || undefined,
    maxQueue: Number.isInteger(most) && most >= 0 && most <= LARGEST_U32 ? most : undefined,
  };
}

/**
 * Returns the client's credentials, from the options that specify them.
 *
 * @type {(client: RedisClient, options: any, specifying: any) => Partial<ClientSettings>}
 */
function account(client, { RESP }, { username, password, credentialsProvider }) {
  const fixed = settings.account({ username, password });
  // Since version 5, a client with a user or a password also has a provider that returns them.
  if (!fixed.password && (!username || isStreaming(credentialsProvider)))
    return fromProvider(credentialsProvider, sendsHello(client, RESP));
  return fixed.password === '' && sendsHello(client, RESP) ? {} : fixed;
}

/**
 * Returns true if a client sends HELLO, in which it omits a user without a password. Only the fields that version 6
 * added distinguish it from version 5, which sends HELLO only if a protocol is set, no matter which.
 *
 * @type {(client: RedisClient, RESP: unknown) => boolean}
 */
const sendsHello = (client, RESP) => ('_keyPrefix' in client ? RESP !== 2 : Boolean(RESP));

/** Returns the TLS settings, which are among those of the socket, or in `tls` itself. @param {any} socket */
function tlsOf(socket) {
  if (!socket.tls) return undefined;
  return settings.tls(typeof socket.tls === 'object' ? { ...socket, ...socket.tls } : socket);
}

const isStreaming = (/** @type {any} */ provider) => provider?.type === 'streaming-credentials-provider';

/**
 * Returns a function that calls the provider; and the provider itself if it pushes new passwords.
 *
 * @type {(provider: any, hasHello: boolean) => Partial<ClientSettings>}
 */
function fromProvider(provider, hasHello) {
  if (provider == null) return {};
  const streams = isStreaming(provider);
  const known = hasHello ? credentialsOf.hello : credentialsOf.other;
  let request = known.get(provider);
  if (request === undefined) {
    const current = streams ? currentOf(provider) : () => provider.credentials();
    request = async () => interpret(await current(), hasHello);
    known.set(provider, request);
  }
  return { credentials: request, renewals: streams ? provider : undefined };
}

/**
 * Interprets the result of a provider as the client does, which also connects without a password.
 *
 * @type {(given: any, hasHello: boolean) => unknown}
 */
function interpret(given, hasHello) {
  if (given === null || typeof given !== 'object' || given.password) return given;
  return new Passwordless(hasHello ? undefined : given.username || undefined);
}

/**
 * Returns a function that returns the current credentials of a streaming provider.
 *
 * @param {StreamingProvider} provider
 */
function currentOf(provider) {
  const listener = { onNext() {}, onError() {} };
  return async () => {
    const [current, subscription] = await provider.subscribe(listener);
    dispose(subscription);
    return current;
  };
}

module.exports = { isNodeRedis, commandForm, describeNodeRedis, offlineLimits };
