'use strict';

const { REDIS_PORT } = require('./servers.js');

/** @import { ClientSettings, Description, Location } from '../types.d.ts' */

/** A URL of a cluster or of sentinels, and its path: the database, after the primary's name with sentinels. */
const SEVERAL = /^\s*\w+\+(cluster|sentinel):\/\/[^/]*(.*)$/i;

/** Returns where a valid URL locates Redis, by default on this machine. @param {string} [text] @returns {Location} */
function locationOfUrl(text = 'redis:') {
  const [, kind, path] = SEVERAL.exec(text) ?? [];
  if (kind !== undefined)
    return { database: Number(path.split('/')[kind.toLowerCase() === 'cluster' ? 1 : 2] ?? 0) };
  const { protocol, hostname, port, pathname, searchParams } = new URL(text);
  if (/unix:$/i.test(protocol))
    return { address: decodeURIComponent(pathname), database: Number(searchParams.get('db') ?? 0) };
  return {
    address: decodeURIComponent(hostname.replace(/^\[|\]$/g, '')) || '127.0.0.1',
    port: Number(port || REDIS_PORT),
    database: Number(pathname.replace(/^\/+|\/+$/g, '')),
  };
}

/**
 * Returns where a client is connected, as far as its settings show it.
 *
 * @param {Description & Partial<ClientSettings>} description
 * @returns {Location}
 */
function locationOfClient({ topology, nodes = [], database }) {
  const { path, host, port } = topology === 'standalone' ? (nodes[0] ?? {}) : {};
  return path === undefined ? { address: host, port, database } : { address: path, database };
}

module.exports = { locationOfClient, locationOfUrl };
