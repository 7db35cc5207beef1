'use strict';

const { optionName, wrongValue } = require('../common/errors.js');
const { LARGEST_U32 } = require('../common/limits.js');
const { numberOf } = require('../connection/credentials.js');
const { tlsSettings } = require('../connection/tls.js');
const { natMap: natMapOf, secret } = require('../connection/servers.js');

const CLIENT = optionName('client');

/** @import { ClientSettings, NodeAddress, Target } from '../types.d.ts' */

/**
 * Converts the settings of a live client, as `describeClient` returns them, to the addon's options.
 *
 * @param {ClientSettings} found
 * @returns {Partial<Target> & Required<Pick<Target, 'settings'>>}
 * @throws {TypeError} if they are invalid
 */
function toAddonSettings(found) {
  const { nodes = [], sentinel } = found;
  if ((sentinel?.nodes ?? nodes).length === 0)
    throw wrongValue(CLIENT, 'one that names a server to begin with', undefined);
  const { database, username, password, credentials, tls } = found;
  if (database !== undefined && !(Number.isInteger(database) && database >= 0 && database <= LARGEST_U32))
    throw wrongValue(CLIENT, 'one whose database is a whole number from 0', undefined);
  return {
    keyPrefix: found.keyPrefix,
    ...servers(found),
    settings: {
      ...(found.topology === 'standalone' ? nodes[0] : {}),
      database,
      username,
      password: secret(password),
      tls: tls && tlsSettings(tls),
    },
    credentials: credentials && numberOf(credentials),
    askForCredentials: credentials,
    renewals: found.renewals,
    connectTimeout: found.connectTimeout,
    commandTimeout: found.commandTimeout,
  };
}

/**
 * Returns the part of the options that describes a cluster or a Sentinel deployment.
 *
 * @param {ClientSettings} found
 * @returns {Pick<Target, 'cluster' | 'sentinel'>}
 */
function servers({ topology, nodes = [], sentinel, natMap }) {
  const nat = natMap && natMapOf('client', natMap);
  if (topology === 'cluster')
    return { cluster: { nodes: /** @type {NodeAddress[]} */ (nodes), natMap: nat } };
  if (sentinel === undefined) return {};
  const { tls, password, ...rest } = sentinel;
  return {
    sentinel: { ...rest, password: secret(password), tls: tls && tlsSettings(tls), natMap: nat },
  };
}

module.exports = { toAddonSettings };
