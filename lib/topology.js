'use strict';

const { outOfRange, wrongType, wrongValue } = require('./errors.js');
const { checkTls, tlsSettings } = require('./tls.js');

const REDIS_PORT = 6379;
const SENTINEL_PORT = 26379;

const name = (option) => `The "${option}" option`;
const isGiven = (value) => value !== undefined && value !== null;

/** `host:port`, `[::1]:port`, a host alone, or an object with `host` and `port`. */
function node(option, address, defaultPort) {
  const what = name(option);
  let { host, port } = address ?? {};
  if (typeof address === 'string') {
    const parts = /^(?:\[([^\]]+)\]|([^:[\]/]+))(?::(\d+))?$/.exec(address);
    if (parts === null) throw wrongValue(what, 'addresses such as "10.0.0.1:6379"', address);
    host = parts[1] ?? parts[2];
    port = parts[3] === undefined ? undefined : Number(parts[3]);
  }
  if (typeof host !== 'string' || host === '')
    throw wrongType(what, 'addresses: "host:port" or { host, port }', address);
  port ??= defaultPort;
  if (!Number.isInteger(port) || port < 1 || port > 65535)
    throw outOfRange(what, 'addresses with a port from 1 to 65535', String(port));
  return { host, port };
}

function nodes(option, addresses, defaultPort) {
  if (!Array.isArray(addresses) || addresses.length === 0)
    throw wrongType(name(option), 'a list of addresses that is not empty', addresses);
  return addresses.map((address) => node(option, address, defaultPort));
}

/** From `host:port` as the servers announce themselves to where they are reached. */
function natMap(option, map) {
  if (!isGiven(map)) return undefined;
  if (typeof map !== 'object')
    throw wrongType(name(option), 'an object from "host:port" to { host, port }', map);
  return Object.entries(map).map(([announced, reached]) => ({
    announced: node(option, announced, REDIS_PORT),
    reached: node(option, reached, REDIS_PORT),
  }));
}

function text(option, value) {
  if (!isGiven(value)) return undefined;
  if (typeof value !== 'string' || value === '')
    throw wrongType(name(option), 'a string that is not empty', undefined);
  return value;
}

function secret(option, value) {
  const checked = text(option, value);
  return checked === undefined ? undefined : { text: checked };
}

function sentinelSettings(sentinel) {
  if (typeof sentinel !== 'object')
    throw wrongType(name('sentinel'), 'an object with "name" and "addresses"', sentinel);
  const tls = checkTls('sentinel.tls', sentinel.tls);
  if (!isGiven(sentinel.name))
    throw wrongType(name('sentinel.name'), 'what the sentinels call the primary', sentinel.name);
  return {
    name: text('sentinel.name', sentinel.name),
    nodes: nodes('sentinel.addresses', sentinel.addresses, SENTINEL_PORT),
    username: text('sentinel.username', sentinel.username),
    password: secret('sentinel.password', sentinel.password),
    tls: tls && tlsSettings(tls),
    natMap: natMap('sentinel.natMap', sentinel.natMap),
  };
}

function clusterSettings(cluster) {
  if (Array.isArray(cluster)) return { nodes: nodes('cluster', cluster, REDIS_PORT) };
  if (typeof cluster !== 'object')
    throw wrongType(name('cluster'), 'a list of addresses, or an object with "addresses"', cluster);
  return {
    nodes: nodes('cluster.addresses', cluster.addresses, REDIS_PORT),
    natMap: natMap('cluster.natMap', cluster.natMap),
  };
}

function databaseNumber(database) {
  if (!isGiven(database)) return 0;
  if (!Number.isInteger(database) || database < 0)
    throw outOfRange(name('database'), 'a whole number from 0', String(database));
  return database;
}

/**
 * What the options `sentinel` and `cluster` say, with the `username`, `password` and `database` beside them, in
 * the form that the addon takes; undefined if neither is given.
 */
function serversOf(options) {
  const { sentinel, cluster } = options;
  if (!isGiven(sentinel) && !isGiven(cluster)) return undefined;
  if (isGiven(sentinel) && isGiven(cluster))
    throw wrongValue(name('cluster'), 'left out beside "sentinel": either says where Redis is', undefined);
  const username = text('username', options.username);
  const password = secret('password', options.password);
  if (username !== undefined && password === undefined)
    throw wrongType(name('password'), 'given beside "username"', undefined);
  if (isGiven(cluster) && isGiven(options.database))
    throw wrongValue(name('database'), 'left out beside "cluster", which has no databases', undefined);
  return {
    sentinel: isGiven(sentinel) ? sentinelSettings(sentinel) : undefined,
    cluster: isGiven(cluster) ? clusterSettings(cluster) : undefined,
    settings: { username, password, database: databaseNumber(options.database) },
  };
}

module.exports = { serversOf, natMap };
