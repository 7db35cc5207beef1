'use strict';

const { LARGEST_U32 } = require('../common/limits.js');
const { Passwordless, dispose } = require('../connection/credentials.js');
const settings = require('./settings.js');

const { NotCarried } = settings;
const DEFAULT_CONNECT_TIMEOUT = 5000;

/** A function for each provider, and beginning, as the same function means the same connection. */
const credentialsOf = { greeting: new WeakMap(), other: new WeakMap() };

/** node-redis 4 to 6: a client, a pool, a cluster or a sentinel. */
function isNodeRedis(client) {
  return typeof client.sendCommand === 'function' && typeof client.isOpen === 'boolean';
}

/** The arguments of `sendCommand`: see `describeClient`. */
function commandForm(client) {
  if (isCluster(client)) return 'sendCommand(key, isReadonly, args)';
  if (client.options?.legacyMode === true) return 'v4.sendCommand(args)';
  return isSentinel(client) ? 'sendCommand(isReadonly, args)' : 'sendCommand(args)';
}

const isCluster = (client) => Array.isArray(client.masters);
const isSentinel = (client) => typeof client.getSentinelNode === 'function';
const isPool = (client) => typeof client.execute === 'function' && 'totalClients' in client;

function describeNodeRedis(client) {
  if (isSentinel(client)) throw new NotCarried('a sentinel client of redis keeps its settings to itself');
  // Its clients have them, but one is there only later, and a store says at once how it works.
  if (isPool(client)) throw new NotCarried('a pool of redis keeps its settings to itself');
  if (isCluster(client)) return cluster(client);
  // A client that was made without options may have none; a wrapper has not even the field.
  if (!('options' in client)) throw new NotCarried('its settings are not where those of redis are');
  return standalone(client, client.options ?? {});
}

/** A URL is already decoded into the other fields; absent ones mean the defaults. */
function standalone(client, options) {
  const socket = options.socket ?? {};
  return {
    topology: 'standalone',
    nodes: [socket.path ? { path: socket.path } : settings.node(socket.host, socket.port)],
    database: Number(options.database ?? 0),
    ...common(options, account(client, options, options)),
  };
}

function cluster(client) {
  const options = client._options;
  // redis 4. Its clients have some of them after it has connected, but not the nodeAddressMap.
  if (options === undefined) throw new NotCarried('a cluster of redis 4 keeps its settings to itself');
  const starts = options.rootNodes.map(rootNode);
  const defaults = options.defaults ?? {};
  const withAccount = (each) => each.password || each.credentialsProvider;
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

/** A root node with its URL, if it has one, decoded. */
function rootNode({ url, ...options }) {
  if (url === undefined) return { ...options, socket: options.socket ?? {} };
  const { host, port, tls, ...account } = settings.fromUrl(url);
  return { ...options, ...account, socket: { ...options.socket, host, port, ...(tls && { tls }) } };
}

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

/** How long commands wait while the client is not connected, in the words of `describeClient`. */
function waitingOf(client) {
  const options = client.options ?? client._options?.defaults ?? {};
  const { disableOfflineQueue, commandsQueueMaxLength: most } = options;
  return {
    failsOffline: disableOfflineQueue === true || undefined,
    maxQueue: Number.isInteger(most) && most >= 0 && most <= LARGEST_U32 ? most : undefined,
  };
}

/** Who the client is for Redis, by those of its options that say it. */
function account(client, { RESP }, { username, password, credentialsProvider }) {
  const fixed = settings.account({ username, password });
  // Since version 5, a user or a password brings a provider that gives them.
  if (!fixed.password && (!username || isStreaming(credentialsProvider)))
    return provided(credentialsProvider, greets(client, RESP));
  return fixed.password === '' && greets(client, RESP) ? {} : fixed;
}

/**
 * Whether a client begins with HELLO, in which it does not name a user who has no password. Nothing but the fields that
 * came with version 6 tells it from version 5, which does so only if it is told a protocol, whichever.
 */
const greets = (client, RESP) => ('_keyPrefix' in client ? RESP !== 2 : Boolean(RESP));

/** The TLS settings stand among those of the socket; some put them into `tls` itself. */
function tlsOf(socket) {
  if (!socket.tls) return undefined;
  return settings.tls(typeof socket.tls === 'object' ? { ...socket, ...socket.tls } : socket);
}

const isStreaming = (provider) => provider?.type === 'streaming-credentials-provider';

/** A function that asks the provider; and the provider itself, if it tells of each new password as it comes. */
function provided(provider, isGreeting) {
  if (provider == null) return {};
  const streams = isStreaming(provider);
  const known = isGreeting ? credentialsOf.greeting : credentialsOf.other;
  let ask = known.get(provider);
  if (ask === undefined) {
    const current = streams ? currentOf(provider) : () => provider.credentials();
    ask = async () => taken(await current(), isGreeting);
    known.set(provider, ask);
  }
  return { credentials: ask, renewals: streams ? provider : undefined };
}

/** What a provider gives, as the client takes it, who connects without a password as well. */
function taken(given, isGreeting) {
  if (given === null || typeof given !== 'object' || given.password) return given;
  return new Passwordless(isGreeting ? undefined : given.username || undefined);
}

/** What a streaming provider gives at the moment. */
function currentOf(provider) {
  const listener = { onNext() {}, onError() {} };
  return async () => {
    const [current, subscription] = await provider.subscribe(listener);
    dispose(subscription);
    return current;
  };
}

module.exports = { isNodeRedis, commandForm, describeNodeRedis, waitingOf };
