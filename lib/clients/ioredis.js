'use strict';

const dns = require('node:dns');
const settings = require('./settings.js');

const { NotCarried } = settings;
const SENTINEL_PORT = 26379;
const DEFAULT_CONNECT_TIMEOUT = 10_000;

/** @import { ClientSettings, OfflineLimits, RedisClient } from '../types.d.ts' */
/** @typedef {(client: RedisClient) => boolean} Test */
/** @typedef {(client: RedisClient) => ClientSettings} Describe */

/** Returns true for ioredis 4 to 6, iovalkey, and wrappers that have the settings in the same place. @type {Test} */
function isIoredis(client) {
  if (typeof client.call !== 'function') return false;
  return client.isCluster === true
    ? Array.isArray(client.startupNodes)
    : typeof client.status === 'string' && 'host' in (client.options ?? {});
}

/**
 * Returns true for ioredis-mock, which keeps its data in the process and has only a method per command.
 *
 * @type {Test}
 */
function isMock(client) {
  const isOne = client.constructor?.name === '_RedisMock' || client.options?.data !== undefined;
  return isOne && typeof client.get === 'function' && typeof client.set === 'function';
}

/**
 * Returns true for a client that was disconnected between two connections: there was none whose end it could report, so
 * its status stays the same permanently. The field is undocumented, and the same in all versions.
 *
 * @type {Test}
 */
function isGivenUp(client) {
  return client.manuallyClosing === true && ['reconnecting', 'disconnecting'].includes(client.status);
}

/** @type {Describe} */
function describeIoredis(client) {
  if (client.isCluster === true) return cluster(client);
  return client.options.sentinels?.length > 0 ? sentinel(client) : standalone(client);
}

/** @type {Describe} */
function standalone(client) {
  const { options } = client;
  return {
    topology: 'standalone',
    // `host` is also set with `path`, which takes precedence.
    nodes: [options.path ? { path: options.path } : settings.node(options.host, options.port)],
    tls: tlsOf(options.tls),
    ...common(client, options),
  };
}

/** Ignores `role`: the store writes, and only a primary accepts writes. @type {Describe} */
function sentinel(client) {
  const { options } = client;
  const natMap = settings.natMap(options.natMap, 'natMap');
  return {
    topology: 'sentinel',
    sentinel: {
      name: options.name,
      nodes: options.sentinels.map((/** @type {any} */ { host, port }) =>
        settings.node(host, port, SENTINEL_PORT),
      ),
      ...settings.account({ username: options.sentinelUsername, password: options.sentinelPassword }),
      tls: tlsOf(options.sentinelTLS),
    },
    natMap,
    // Without that flag, ioredis connects to the primary without TLS.
    tls: options.enableTLSForSentinelMode ? tlsOf(options.tls) : undefined,
    ...common(client, options),
  };
}

/** @param {RedisClient} client @param {any} options */
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

/** @type {Describe} */
function cluster(client) {
  const { options, startupNodes } = client;
  const shared = options.redisOptions ?? {};
  if (options.useSRVRecords) throw new NotCarried('it finds its nodes by SRV records');
  if (shared.Connector) throw new NotCarried('it has a Connector of its own');
  /** @type {any[]} */
  const starts = startupNodes.map(startNode);
  if (!resolvesPlainly(options.dnsLookup, starts)) throw new NotCarried('its dnsLookup is a function');
  return {
    topology: 'cluster',
    nodes: starts.map(({ host, port }) => settings.node(host || '127.0.0.1', port)),
    natMap: settings.natMap(options.natMap, 'natMap'),
    database: Number(shared.db ?? 0),
    // In ioredis, a password in a start node's URL applies to that node alone; a cluster has one for all nodes.
    ...settings.account([shared, ...starts].find(({ password }) => password) ?? shared),
    tls: tlsOf(shared.tls ?? starts.find((start) => typeof start.tls === 'object')?.tls),
    keyPrefix: settings.keyPrefix(options.keyPrefix ?? shared.keyPrefix),
    ...limits(shared),
  };
}

/** Parses a start node: an object, a URL or a port. ioredis ignores the scheme `rediss:` here. @param {any} start */
function startNode(start) {
  if (typeof start === 'object') return start;
  if (typeof start === 'number') return { port: start };
  const { tls, ...rest } = settings.fromUrl(start);
  return rest;
}

/**
 * Returns true if a lookup has the same result as the system's. That includes the one that AWS recommends, which
 * returns the name itself, so that TLS can verify it: a native connection always has the name.
 *
 * @type {(dnsLookup: Function | undefined, starts: any[]) => boolean}
 */
function resolvesPlainly(dnsLookup, starts) {
  if (dnsLookup === undefined || dnsLookup === dns.lookup) return true;
  const host = starts[0]?.host || '127.0.0.1';
  let resolved;
  try {
    dnsLookup(host, (/** @type {unknown} */ error, /** @type {unknown} */ address) => {
      resolved = error ? undefined : address;
    });
  } catch {
    return false;
  }
  return resolved === host;
}

/** @param {unknown} options */
function tlsOf(options) {
  return settings.tls(options === true ? {} : options);
}

/** The default of ioredis, which does not count as set by the app. */
const DEFAULT_RETRIES = 20;

/** @param {RedisClient} client @returns {OfflineLimits} */
function offlineLimits({ options, isCluster }) {
  const retries = options?.maxRetriesPerRequest;
  const isLimited = !isCluster && Number.isInteger(retries) && retries >= 0 && retries !== DEFAULT_RETRIES;
  return {
    failsOffline: options?.enableOfflineQueue === false || undefined,
    maxRetries: isLimited ? retries : undefined,
  };
}

/** @param {any} options */
function limits({ connectTimeout, commandTimeout }) {
  return {
    connectTimeout: settings.milliseconds(connectTimeout, DEFAULT_CONNECT_TIMEOUT),
    commandTimeout: settings.milliseconds(commandTimeout),
  };
}

module.exports = { isIoredis, isMock, isGivenUp, describeIoredis, offlineLimits };
