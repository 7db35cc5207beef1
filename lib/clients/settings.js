'use strict';

// Functions that convert the settings of all kinds of clients to the terms of `describeClient`.

const { LONGEST_DELAY_MS } = require('../common/limits.js');
const { NOT_CARRIED, OF_CLIENTS } = require('../connection/tls.js');

/** @import { Account, NodeAddress, TlsOptions } from '../types.d.ts' */

/** Thrown if a client has a setting that a native connection cannot have, which the message names. */
class NotCarried extends Error {}

/** @type {(host: string | undefined, port: unknown, defaultPort?: number) => NodeAddress} */
function node(host, port, defaultPort = 6379) {
  return { host: host || 'localhost', port: Number(port || defaultPort) };
}

/** Parses a URL or `host:port` into the options that it stands for. @param {string} text */
function fromUrl(text) {
  try {
    return partsOf(new URL(/^[a-z][a-z+]*:\/\//i.test(text) ? text : `redis://${text}`));
  } catch {
    // The message does not show the URL, which may contain a password.
    throw new NotCarried('the URL of one of its nodes cannot be read');
  }
}

/** @param {URL} url */
function partsOf(url) {
  return {
    host: url.hostname.replace(/^\[|\]$/g, '') || undefined,
    port: url.port || undefined,
    username: decodeURIComponent(url.username) || undefined,
    password: decodeURIComponent(url.password) || undefined,
    tls: url.protocol === 'rediss:',
  };
}

/**
 * Returns user and password. A user without one needs none, such as an ACL's `nopass`; Redis expects an empty password.
 *
 * @type {(options: { username?: string, password?: unknown }) => Account}
 */
function account({ username, password }) {
  if (password == null || password === '') return username ? { username, password: '' } : {};
  return { username: username || undefined, password: String(password) };
}

/**
 * Returns the client's TLS settings as options of Node; undefined without TLS.
 *
 * @type {(options: any) => TlsOptions | undefined}
 */
function tls(options) {
  if (!options) return undefined;
  const lost = [...NOT_CARRIED, ...OF_CLIENTS].find((option) => options[option] != null);
  if (lost !== undefined) throw new NotCarried(`its TLS setting "${lost}" cannot be carried over`);
  const { ca, cert, key, servername, rejectUnauthorized } = options;
  const isPem = (/** @type {unknown} */ part) => typeof part === 'string' || ArrayBuffer.isView(part);
  for (const [name, value] of Object.entries({ ca, cert, key }))
    if (value != null && ![value].flat().every(isPem))
      throw new NotCarried(`its TLS setting "${name}" is more than PEM`);
  if (options.minVersion === 'TLSv1.3')
    throw new NotCarried('its TLS setting "minVersion" cannot be carried over');
  if ([ca].flat().some((part) => part != null && Buffer.from(part).includes('TRUSTED CERTIFICATE-----')))
    throw new NotCarried('its TLS setting "ca" has a TRUSTED CERTIFICATE');
  return { ca, cert, key, servername, rejectUnauthorized };
}

/**
 * Returns a timeout; undefined if no timer could have it, or if it is the client's default, not set by the app.
 *
 * @type {(value: unknown, byDefault?: number) => number | undefined}
 */
function milliseconds(value, byDefault) {
  if (typeof value !== 'number' || value === byDefault) return undefined;
  const whole = Math.round(value);
  return whole >= 1 && whole <= LONGEST_DELAY_MS ? whole : undefined;
}

/**
 * Returns the client's map from announced addresses to those at which it reaches the nodes.
 *
 * @type {(map: any, name: string) => Record<string, NodeAddress> | undefined}
 */
function natMap(map, name) {
  if (map == null) return undefined;
  if (typeof map === 'function') throw new NotCarried(`its ${name} is a function`);
  const entries = /** @type {[string, any][]} */ (Object.entries(map));
  return Object.fromEntries(entries.map(([from, { host, port }]) => [from, node(host, port)]));
}

/** @param {unknown} prefix */
function keyPrefix(prefix) {
  if (prefix == null || prefix === '') return undefined;
  if (typeof prefix !== 'string') throw new NotCarried('its keyPrefix is no string');
  return prefix;
}

module.exports = { NotCarried, node, fromUrl, account, tls, milliseconds, natMap, keyPrefix };
