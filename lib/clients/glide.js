'use strict';

const settings = require('./settings.js');

const { NotCarried } = settings;

/** valkey-glide 2. */
function isGlide(client) {
  return typeof client.customCommand === 'function' && Array.isArray(client.config?.addresses);
}

/** `NodeDiscoveryMode.DiscoverAll`: an address is that of any node. */
const DISCOVER_ALL = 2;

/** Sharded channels are a cluster's. */
const isCluster = (client) => typeof client.ssubscribe === 'function';

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
    nodes: addresses.map(({ host, port }) => settings.node(host, port)),
    database: databaseId ?? 0,
    // Without a password it is nobody, also for the client.
    ...(credentials?.password ? settings.account(credentials) : {}),
    tls: config.useTLS ? tls(advancedConfiguration?.tlsAdvancedConfiguration) : undefined,
    connectTimeout: settings.milliseconds(advancedConfiguration?.connectionTimeout),
    commandTimeout: settings.milliseconds(requestTimeout),
  };
}

/**
 * The setting by which the client's commands do not do what they say, if there is one: it gives what was read once and
 * is gone since, or stores other texts than it was given, so that what is stored cannot be compared.
 */
function falsifies({ config: { clientSideCache, compression } }) {
  if (clientSideCache != null) return 'clientSideCache';
  return compression?.enabled ? 'compression' : undefined;
}

function tls({ rootCertificates, insecure } = {}) {
  return settings.tls({ ca: rootCertificates, rejectUnauthorized: !insecure });
}

module.exports = { isGlide, describeGlide, falsifies };
