'use strict';

const dns = require('node:dns');
const settings = require('./settings.js');

const { NotCarried } = settings;
const SENTINEL_PORT = 26379;
const DEFAULT_CONNECT_TIMEOUT = 10_000;

/** ioredis 4 to 6 and iovalkey, also wrapped: what counts is that the settings are where they have them. */
function isIoredis(client) {
  if (typeof client.call !== 'function') return false;
  return client.isCluster === true
    ? Array.isArray(client.startupNodes)
    : typeof client.status === 'string' && 'host' in (client.options ?? {});
}

/** ioredis-mock keeps its data in the process, and runs commands by methods alone. */
function isMock(client) {
  const isOne = client.constructor?.name === '_RedisMock' || client.options?.data !== undefined;
  return isOne && typeof client.get === 'function' && typeof client.set === 'function';
}

/**
 * Between two connections, a client that is disconnected has none whose end it could tell: it stays as it is for
 * good. The field is not documented, and the same in all versions.
 */
function isGivenUp(client) {
  return client.manuallyClosing === true && ['reconnecting', 'disconnecting'].includes(client.status);
}

function describeIoredis(client) {
  if (client.isCluster === true) return cluster(client);
  return client.options.sentinels?.length > 0 ? sentinel(client) : standalone(client);
}

function standalone(client) {
  const { options } = client;
  return {
    topology: 'standalone',
    // `host` is there beside `path`, which wins.
    nodes: [options.path ? { path: options.path } : settings.node(options.host, options.port)],
    tls: tlsOf(options.tls),
    ...common(client, options),
  };
}

/** `role` is not looked at: sessions are written, and only a primary takes writes. */
function sentinel(client) {
  const { options } = client;
  const natMap = settings.natMap(options.natMap, 'natMap');
  return {
    topology: 'sentinel',
    sentinel: {
      name: options.name,
      nodes: options.sentinels.map(({ host, port }) => settings.node(host, port, SENTINEL_PORT)),
      ...settings.account({ username: options.sentinelUsername, password: options.sentinelPassword }),
      tls: tlsOf(options.sentinelTLS),
    },
    natMap,
    // Without that flag, ioredis connects to what the sentinels name without TLS.
    tls: options.enableTLSForSentinelMode ? tlsOf(options.tls) : undefined,
    ...common(client, options),
  };
}

function common(client, options) {
  if (options.Connector != null) throw new NotCarried('it has a Connector of its own');
  return {
    // After a SELECT, `options.db` is out of date.
    database: Number(client.condition?.select ?? options.db ?? 0),
    ...settings.account(options),
    keyPrefix: settings.keyPrefix(options.keyPrefix),
    ...limits(options),
  };
}

function cluster(client) {
  const { options, startupNodes } = client;
  const shared = options.redisOptions ?? {};
  if (options.useSRVRecords) throw new NotCarried('it finds its nodes by SRV records');
  if (shared.Connector) throw new NotCarried('it has a Connector of its own');
  const starts = startupNodes.map(startNode);
  if (!resolvesPlainly(options.dnsLookup, starts)) throw new NotCarried('its dnsLookup is a function');
  return {
    topology: 'cluster',
    nodes: starts.map(({ host, port }) => settings.node(host || '127.0.0.1', port)),
    natMap: settings.natMap(options.natMap, 'natMap'),
    database: Number(shared.db ?? 0),
    // A password in a start node's URL is that node's alone for ioredis; a cluster has one for all.
    ...settings.account([shared, ...starts].find(({ password }) => password) ?? shared),
    tls: tlsOf(shared.tls ?? starts.find((start) => typeof start.tls === 'object')?.tls),
    keyPrefix: settings.keyPrefix(options.keyPrefix ?? shared.keyPrefix),
    ...limits(shared),
  };
}

/** A start node is an object, a URL or a port. That a URL is `rediss:` means nothing to ioredis here. */
function startNode(start) {
  if (typeof start === 'object') return start;
  if (typeof start === 'number') return { port: start };
  const { tls, ...rest } = settings.fromUrl(start);
  return rest;
}

/**
 * Whether a lookup gives what the system's gives. So does the one that AWS asks for, which leaves a name as it
 * is, so that TLS can check it: a native connection has the name in any case.
 */
function resolvesPlainly(dnsLookup, starts) {
  if (dnsLookup === undefined || dnsLookup === dns.lookup) return true;
  const host = starts[0]?.host || '127.0.0.1';
  let resolved;
  try {
    dnsLookup(host, (error, address) => {
      resolved = error ? undefined : address;
    });
  } catch {
    return false;
  }
  return resolved === host;
}

function tlsOf(options) {
  return settings.tls(options === true ? {} : options);
}

/** ioredis's own default: no wish of the app's. */
const DEFAULT_RETRIES = 20;

/** How long commands wait while the client is not connected, in the words of `describeClient`. */
function waitingOf({ options = {}, isCluster }) {
  const { maxRetriesPerRequest: retries } = options;
  const isLimited = !isCluster && Number.isInteger(retries) && retries >= 0 && retries !== DEFAULT_RETRIES;
  return {
    failsOffline: options.enableOfflineQueue === false || undefined,
    maxRetries: isLimited ? retries : undefined,
  };
}

function limits({ connectTimeout, commandTimeout }) {
  return {
    connectTimeout: settings.milliseconds(connectTimeout, DEFAULT_CONNECT_TIMEOUT),
    commandTimeout: settings.milliseconds(commandTimeout),
  };
}

module.exports = { isIoredis, isMock, isGivenUp, describeIoredis, waitingOf };
