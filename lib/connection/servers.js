'use strict';

const { optionName: name, outOfRange, wrongType, wrongValue } = require('../common/errors.js');
const { fromEnvironment } = require('../common/env-vars.js');
const { tlsSettings } = require('./tls.js');

/** @import { NatEntry, Redacted, SentinelSettings } from '../binding.js' */
/** @import { CheckedOptions, NodeAddress, Target } from '../types.d.ts' */

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

/** Parses a list of addresses. @type {(option: string, addresses: unknown[], defaultPort: number) => NodeAddress[]} */
function nodes(option, addresses, defaultPort) {
  return addresses.map((address) => node(option, address, defaultPort));
}

/**
 * Returns the pairs of an announced address and the one that reaches the server.
 *
 * @type {(option: string, map: object) => NatEntry[]}
 */
function natMap(option, map) {
  return Object.entries(map).map(([announced, reached]) => ({
    announced: node(option, announced, REDIS_PORT),
    reached: node(option, reached, REDIS_PORT),
  }));
}

/** @type {(text: string | undefined) => Redacted | undefined} */
const secret = (text) => (text === undefined ? undefined : { text });

/**
 * Converts the options `sentinel` and `cluster`, with `username`, `password` and `database`, to the form that the addon
 * takes; undefined if neither is set.
 *
 * @param {Partial<CheckedOptions>} options
 * @returns {Pick<Target, 'sentinel' | 'cluster' | 'settings'> | undefined}
 */
function serversOf({ sentinel, cluster, username, password, database }) {
  if (sentinel === undefined && cluster === undefined) return undefined;
  return {
    sentinel: sentinel && sentinelSettings(sentinel),
    cluster: cluster && { nodes: cluster.addresses, natMap: cluster.natMap },
    settings: { username, password: secret(password), database },
  };
}

/** @param {NonNullable<CheckedOptions['sentinel']>} sentinel @returns {SentinelSettings} */
function sentinelSettings({ addresses, password, tls, ...rest }) {
  return { ...rest, nodes: addresses, password: secret(password), tls: tls ? tlsSettings(tls) : undefined };
}

module.exports = { REDIS_PORT, SENTINEL_PORT, serversOf, nodes, natMap, secret };
