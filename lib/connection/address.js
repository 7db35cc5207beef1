'use strict';

const { checkTlsSettings } = require('../boundary/native.js');
const { toAddonSettings } = require('../clients/addon-settings.js');
const { checkTransport, describeClient, isKnownClient, nameOf } = require('../clients/client.js');
const { optionName: name, wrongType, wrongValue } = require('../common/errors.js');
const { check } = require('../options.js');
const { numberOf } = require('./credentials.js');
const { tlsSettings } = require('./tls.js');
const { serversOf } = require('./topology.js');

/** @import { ClientTarget, Description, RedisClient, Target } from '../types.d.ts' */
/** @typedef {Record<string, any>} Options the options of a store, with those of older versions of connect-redis */
/** @typedef {'native' | 'client' | undefined} Wanted the option `transport` */
/** @typedef {ReturnType<typeof toAddonSettings> | undefined} NativeTarget */

/** Options that locate Redis or authenticate, which a client has itself. */
const EXCLUDED_BY_CLIENT = [
  'url',
  'sentinel',
  'cluster',
  'tls',
  'credentials',
  'username',
  'password',
  'database',
];

/** The methods by which clients run any command. */
const COMMAND_CALLS = ['sendCommand', 'call', 'customCommand'];

/** Options that locate Redis, of which at most one may be set, and none with a client. */
const PLACES = ['url', 'sentinel', 'cluster'];
/** Options that may be set only with `sentinel` and `cluster`; a URL contains them. */
const WITH_SERVERS = ['username', 'password', 'database'];
/**
 * Options by which old versions of connect-redis located Redis, each with the option that replaces it with `sentinel`
 * and `cluster`. With a client they are ignored, as in connect-redis.
 *
 * @type {Record<string, string>}
 */
const FORMER = { host: '', port: '', socket: '', db: 'database', pass: 'password' };

/**
 * Rejects a client in place of the options, which would result in a store on localhost:6379.
 *
 * @param {Options} options
 */
function checkNoClient(options) {
  if (COMMAND_CALLS.some((call) => typeof options[call] === 'function'))
    throw wrongType('The argument of RedisStore', 'an object of options, such as { client }', options);
}

/** Rejects options that locate Redis or authenticate, but would be ignored. @param {Options} options */
function checkPlace(options) {
  const given = (/** @type {string} */ option) => options[option] != null;
  const [place, another] = PLACES.filter(given);
  if (another !== undefined)
    throw wrongValue(name(another), `left out beside "${place}": either says where Redis is`, undefined);
  const hasServers = place === 'sentinel' || place === 'cluster';
  const former = Object.keys(FORMER).find(given);
  if (former !== undefined && hasServers)
    throw wrongValue(name(former), `left out: "${FORMER[former] || place}" says it`, undefined);
  const ignored = former ?? (hasServers ? undefined : WITH_SERVERS.find(given));
  if (ignored !== undefined)
    throw wrongValue(
      name(ignored),
      'left out: a "url" says it, such as redis://user:password@host:6379/5 or redis+unix:///run/redis.sock?db=5',
      undefined,
    );
  const account = ['username', 'password'].find(given);
  if (account !== undefined && given('credentials'))
    throw wrongValue(name(account), 'left out beside "credentials", which gives it', undefined);
}

/** Returns the part of the addon's options that the connection needs. @param {Options} options @returns {Target} */
function address(options) {
  checkNoClient(options);
  /** @type {Target} */
  const given = {
    connectTimeout: check.connectTimeout(options.connectTimeout),
    commandTimeout: check.commandTimeout(options.commandTimeout),
    maxQueue: check.maxQueue(options.maxQueue),
    cache: check.cache(options.cache),
    readsFromReplicas: check.readFrom(options.readFrom) === 'replica-preferred',
  };
  const { client } = options;
  const transport = check.transport(options.transport);
  if (client != null) {
    const excluded = EXCLUDED_BY_CLIENT.find((option) => options[option] != null);
    if (excluded !== undefined)
      throw wrongValue(name(excluded), 'left out beside "client", which says where Redis is', undefined);
    const [description, native] = toNative(describeClient(client), transport);
    // The client's limits on waiting commands apply unless the app sets `maxQueue`.
    if (given.maxQueue === undefined) {
      const { maxQueue, maxRetries, failsOffline } = description;
      Object.assign(given, { maxQueue, maxRetries, failsOffline });
    }
    if (transportOf(transport, description) === 'client' || native === undefined) {
      checkTransport(client);
      if (given.cache)
        throw wrongValue(
          name('cache'),
          `left out where the client itself runs the commands, which is not told of changes${why(description)}`,
          undefined,
        );
      // No warning if the app has chosen the transport itself.
      const isChosen = transport === 'client' || !isKnownClient(client);
      return {
        ...given,
        ...throughClient(client, description),
        reason: isChosen ? undefined : description.reason,
      };
    }
    given.connectTimeout ??= native.connectTimeout;
    given.commandTimeout ??= native.commandTimeout;
    const canFallBack = transport === undefined && !given.cache && native.settings.tls !== undefined;
    const fallback = canFallBack ? { ...given, ...throughClient(client, description) } : undefined;
    return { ...native, ...given, fallback };
  }
  if (transport === 'client')
    throw wrongValue(name('transport'), 'left out without "client", which it would use', transport);
  checkPlace(options);
  const url = serverUrl(options);
  const tls = check.tls(options.tls ?? (url && SECURE.test(url.text)));
  const credentials = check.credentials(options.credentials);
  return {
    ...given,
    ...(serversOf(options) ?? { url }),
    tls: tls && tlsSettings(tls),
    credentials: credentials && numberOf(credentials),
    askForCredentials: credentials,
  };
}

/** The URLs that select TLS. */
const SECURE = /^\s*(rediss|valkeys)/i;

/**
 * Returns the settings of a store whose commands run on its client.
 *
 * @type {(client: RedisClient, description: Description) => ClientTarget}
 */
function throughClient(client, { command }) {
  return { client, command, name: `the app's ${nameOf(client)}client` };
}

/**
 * Returns a client's description, and its settings as the addon's options, if the addon supports them. It checks the
 * TLS settings itself: its cryptography lacks keys of the curve P-521, for example.
 *
 * @type {(description: Description, wanted: Wanted) => [Description, NativeTarget]}
 */
function toNative(description, wanted) {
  if (description.transport === 'client' || wanted === 'client') return [description, undefined];
  const native = toAddonSettings(description);
  const parts = [native.settings.tls, native.sentinel?.tls];
  const objection = wanted === undefined && parts.map((tls) => tls && checkTlsSettings(tls)).find(Boolean);
  if (!objection) return [description, native];
  const reason = `its TLS settings cannot be carried over: ${objection}`;
  return [{ ...description, transport: 'client', reason }, undefined];
}

/**
 * Returns the transport for a client with this description.
 *
 * @type {(wanted: Wanted, description: Description) => 'native' | 'client'}
 */
function transportOf(wanted, { transport, reason }) {
  if (wanted === 'native' && transport === 'client')
    throw wrongValue(name('transport'), `'client' or left out with this client: ${reason}`, wanted);
  return wanted ?? transport;
}

const why = (/** @type {Description} */ { reason }) => (reason === undefined ? '' : ` (${reason})`);

/** @param {Options} options */
function serverUrl(options) {
  const { url } = options;
  if (url == null) return undefined;
  if (typeof url !== 'string' && !(url instanceof URL))
    throw wrongType(name('url'), 'a string or a URL', url);
  const text = String(url);
  if (options.tls === false && SECURE.test(text))
    throw wrongValue(name('tls'), 'left out, true or TLS settings beside a "rediss:" url', false);
  return { text };
}

module.exports = { address };
