'use strict';

const { optionName: name, outOfRange, wrongType, wrongValue } = require('../common/errors.js');
const { fromEnvironment } = require('../common/environment.js');
const { LARGEST_U32 } = require('../common/limits.js');
const { checkTls, tlsSettings } = require('./tls.js');

/** @import { NatEntry, Redacted, SentinelSettings } from '../binding.js' */
/** @import { NodeAddress, Target } from '../types.d.ts' */

const REDIS_PORT = 6379;
const SENTINEL_PORT = 26379;

/** A host alone. Errors show it, so it must not contain a user or password. */
const HOST = /^[^\s/@?#[\]]+$/;
const ADDRESS = 'addresses such as "10.0.0.1:6379", without "redis://", user and password';

/**
 * Parses `host:port`, `[::1]:port`, a host alone, or an object with `host` and `port`.
 *
 * @type {(option: string, address: any, defaultPort: number) => NodeAddress}
 */
function node(option, address, defaultPort) {
  const what = name(option);
  let { host, port } = address ?? {};
  if (typeof address === 'string') {
    const parts = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(address);
    if (parts === null) throw wrongValue(what, ADDRESS, address);
    host = parts[1] ?? parts[2];
    port = parts[3] === undefined ? undefined : Number(parts[3]);
  }
  if (typeof host !== 'string' || host === '')
    throw wrongType(what, 'addresses: "host:port" or { host, port }', address);
  if (!HOST.test(host)) throw wrongValue(what, ADDRESS, address);
  port = fromEnvironment(port) ?? defaultPort;
  if (typeof port !== 'number') throw wrongType(what, 'addresses whose port is a number', port);
  if (!Number.isInteger(port) || port < 1 || port > 65535)
    throw outOfRange(what, 'addresses with a port from 1 to 65535', port);
  return { host, port };
}

/** @type {(option: string, addresses: unknown, defaultPort: number) => NodeAddress[]} */
function nodes(option, addresses, defaultPort) {
  if (!Array.isArray(addresses) || addresses.length === 0)
    throw wrongType(name(option), 'a list of addresses that is not empty', addresses);
  return addresses.map((address) => node(option, address, defaultPort));
}

/**
 * Returns the pairs of an announced address and the one that reaches the server.
 *
 * @type {(option: string, map: unknown) => NatEntry[] | undefined}
 */
function natMap(option, map) {
  if (map == null) return undefined;
  if (typeof map !== 'object' || Array.isArray(map))
    throw wrongType(name(option), 'an object from "host:port" to { host, port }', map);
  return Object.entries(map).map(([announced, reached]) => ({
    announced: node(option, announced, REDIS_PORT),
    reached: node(option, reached, REDIS_PORT),
  }));
}

/** @type {(option: string, value: unknown) => string | undefined} */
function text(option, value) {
  if (value == null) return undefined;
  // Boxed, so that the error shows its type alone: a number may be a password.
  if (typeof value !== 'string' || value === '')
    throw wrongType(name(option), 'a string that is not empty', Object(value));
  return value;
}

/** @type {(option: string, value: unknown) => Redacted | undefined} */
function secret(option, value) {
  const checked = text(option, value);
  return checked === undefined ? undefined : { text: checked };
}

/**
 * Returns user and password. Rejects a user alone: in most cases, the password was not set by mistake.
 *
 * @param {string} usernameOption
 * @param {string} passwordOption
 * @param {{ username?: unknown, password?: unknown }} options
 */
function account(usernameOption, passwordOption, options) {
  const username = text(usernameOption, options.username);
  const password = secret(passwordOption, options.password);
  if (username !== undefined && password === undefined)
    throw wrongValue(name(passwordOption), `given beside "${usernameOption}"`, undefined);
  return { username, password };
}

/**
 * Rejects unknown fields of the object `option`, which would be ignored.
 *
 * @type {(option: string, object: any, fields: string[]) => void}
 */
function checkFields(option, object, fields) {
  const unknown = Object.keys(object).find((field) => !fields.includes(field) && object[field] != null);
  if (unknown === undefined) return;
  // A text that is not a name may be an address with a password.
  const known = fields.join(', ');
  if (!/^\w+$/.test(unknown)) throw wrongValue(name(option), `one with the fields ${known} alone`, undefined);
  throw wrongValue(name(`${option}.${unknown}`), `left out: there are ${known}`, undefined);
}

/** @param {any} sentinel @returns {SentinelSettings} */
function sentinelSettings(sentinel) {
  if (typeof sentinel !== 'object')
    throw wrongType(name('sentinel'), 'an object with "name" and "addresses"', sentinel);
  checkFields('sentinel', sentinel, ['name', 'addresses', 'username', 'password', 'tls', 'natMap']);
  const tls = checkTls('sentinel.tls', sentinel.tls);
  if (sentinel.name == null)
    throw wrongType(name('sentinel.name'), 'what the sentinels call the primary', sentinel.name);
  return {
    name: /** @type {string} */ (text('sentinel.name', sentinel.name)),
    nodes: nodes('sentinel.addresses', sentinel.addresses, SENTINEL_PORT),
    ...account('sentinel.username', 'sentinel.password', sentinel),
    tls: tls && tlsSettings(tls),
    natMap: natMap('sentinel.natMap', sentinel.natMap),
  };
}

/** @param {any} cluster */
function clusterSettings(cluster) {
  if (Array.isArray(cluster)) return { nodes: nodes('cluster', cluster, REDIS_PORT) };
  if (typeof cluster !== 'object')
    throw wrongType(name('cluster'), 'a list of addresses, or an object with "addresses"', cluster);
  checkFields('cluster', cluster, ['addresses', 'natMap']);
  return {
    nodes: nodes('cluster.addresses', cluster.addresses, REDIS_PORT),
    natMap: natMap('cluster.natMap', cluster.natMap),
  };
}

/** @param {unknown} given */
function databaseNumber(given) {
  const database = fromEnvironment(given);
  if (database == null) return 0;
  if (typeof database !== 'number') throw wrongType(name('database'), 'a whole number', database);
  if (!isDatabase(database))
    throw outOfRange(name('database'), `a whole number from 0 to ${LARGEST_U32}`, database);
  return database;
}

const isDatabase = (/** @type {number} */ number) =>
  Number.isInteger(number) && number >= 0 && number <= LARGEST_U32;

/**
 * Converts the options `sentinel` and `cluster`, with `username`, `password` and `database`, to the form that the addon
 * takes; undefined if neither is set.
 *
 * @param {any} options
 * @returns {Pick<Target, 'sentinel' | 'cluster' | 'settings'> | undefined}
 */
function serversOf(options) {
  const { sentinel, cluster } = options;
  if (sentinel == null && cluster == null) return undefined;
  const { username, password } = account('username', 'password', options);
  return {
    sentinel: sentinel == null ? undefined : sentinelSettings(sentinel),
    cluster: cluster == null ? undefined : clusterSettings(cluster),
    settings: { username, password, database: databaseNumber(options.database) },
  };
}

module.exports = { serversOf, natMap, checkFields, isDatabase };
