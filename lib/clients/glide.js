'use strict';

const settings = require('./settings.js');

const { NotCarried } = settings;

/** @import { ClientSettings, RedisClient } from '../types.d.ts' */

/** Returns true for a client of valkey-glide 2. @param {RedisClient} client */
function isGlide(client) {
  return typeof client.customCommand === 'function' && Array.isArray(client.config?.addresses);
}

/** `NodeDiscoveryMode.DiscoverAll`: the address may be that of any node. */
const DISCOVER_ALL = 2;

/** Only cluster clients have sharded channels. */
const isCluster = (/** @type {RedisClient} */ client) => typeof client.ssubscribe === 'function';

/** @param {RedisClient} client @returns {ClientSettings} */
function describeGlide(client) {
  const { addresses, credentials, databaseId, requestTimeout, advancedConfiguration, ...config } =
    client.config;
  const topology = isCluster(client) ? 'cluster' : 'standalone';
  if (credentials?.iamConfig) throw new NotCarried('it authenticates by AWS IAM');
  if (typeof config.addressResolver === 'function') throw new NotCarried('its addressResolver is a function');
  if (topology === 'standalone' && addresses.length > 1)
    throw new NotCarried('it finds the primary among several addresses');
  if (config.nodeDiscoveryMode === DISCOVER_ALL) throw new NotCarried('it finds all nodes by one of them');
  return {
    topology,
    nodes: addresses.map((/** @type {any} */ { host, port }) => settings.node(host, port)),
    database: databaseId ?? 0,
    // Without a password, the client does not authenticate either.
    ...(credentials?.password ? settings.account(credentials) : {}),
    tls: config.useTLS ? tls(advancedConfiguration?.tlsAdvancedConfiguration) : undefined,
    connectTimeout: settings.milliseconds(advancedConfiguration?.connectionTimeout),
    commandTimeout: settings.milliseconds(requestTimeout),
  };
}

/**
 * Returns the setting, if any, by which the client alters commands or replies: its cache may return deleted sessions,
 * and with its compression the stored text is another one, so that conditional saves cannot compare it.
 *
 * @param {RedisClient} client
 */
function alteringSetting({ config: { clientSideCache, compression } }) {
  if (clientSideCache != null) return 'clientSideCache';
  return compression?.enabled ? 'compression' : undefined;
}

/** @param {{ rootCertificates?: unknown, insecure?: boolean }} [options] */
function tls({ rootCertificates, insecure } = {}) {
  return settings.tls({ ca: rootCertificates, rejectUnauthorized: !insecure });
}

module.exports = { isGlide, describeGlide, alteringSetting };
