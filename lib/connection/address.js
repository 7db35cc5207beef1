'use strict';

const { checkTlsSettings } = require('../boundary/native.js');
const { toAddonSettings } = require('../clients/addon-settings.js');
const { checkTransport, describeClient, isKnownClient, nameOf } = require('../clients/description.js');
const { fromEnvironment } = require('../common/env-vars.js');
const { cannotCombine, optionName: name, wrongValue } = require('../common/errors.js');
const { numberOf } = require('./credentials.js');
const { locationOfClient } = require('./location.js');
const { tlsSettings } = require('./tls.js');
const { serversOf } = require('./servers.js');

/** @import { CheckedOptions, ClientTarget, Description, RedisClient, Target } from '../types.d.ts' */

/** @typedef {ReturnType<typeof toAddonSettings> | undefined} NativeTarget */

/** URLs that select TLS, and those that locate a cluster. */
const SECURE = /^\s*(rediss|valkeys)/i;
const CLUSTER = /^\s*(redis|valkey)s?\+cluster:/i;

/**
 * Returns the part of the addon's options that the connection needs.
 *
 * @param {Record<string, any>} options as the app has set them
 * @param {CheckedOptions} checked the values to use
 * @returns {Target}
 */
function address(options, checked) {
  const readsFromReplicas = checked.readFrom === 'replica-preferred';
  if (checked.cache && readsFromReplicas)
    throw cannotCombine('cache', 'readFrom', 'a replica that is cut off from its primary reports no changes');
  /** @type {Target} */
  const given = {
    connectTimeout: checked.connectTimeout,
    commandTimeout: checked.commandTimeout,
    maxQueue: checked.maxQueue,
    cache: checked.cache || undefined,
    readsFromReplicas,
    location: undefined,
  };
  const target = checked.client === undefined ? withoutClient(checked) : withClient(options, checked, given);
  // A client that runs the commands decides which nodes it reads from.
  if (
    readsFromReplicas &&
    target.cluster === undefined &&
    target.client === undefined &&
    !isClusterUrl(target)
  )
    throw wrongValue(name('readFrom'), "'primary' unless Redis is a cluster", checked.readFrom);
  return { ...given, ...target };
}

const isClusterUrl = (/** @type {Partial<Target>} */ { url }) => url !== undefined && CLUSTER.test(url.text);

/** @param {CheckedOptions} options @returns {Partial<Target>} */
function withoutClient({ url, tls, credentials, transport, ...servers }) {
  if (transport === 'client')
    throw wrongValue(name('transport'), '\'native\' without a "client" to use', transport);
  const text = url && String(url);
  const isSecure = text !== undefined && SECURE.test(text);
  if (tls === false && isSecure)
    throw wrongValue(name('tls'), 'true or TLS settings with a "rediss:" url', tls);
  const usedTls = tls ?? (isSecure ? {} : false);
  const several = serversOf(servers);
  return {
    ...(several ?? { url: text === undefined ? undefined : { text } }),
    location: several && { database: servers.database },
    tls: usedTls ? tlsSettings(usedTls) : undefined,
    credentials: credentials && numberOf(credentials),
    askForCredentials: credentials,
  };
}

/**
 * @param {Record<string, any>} options
 * @param {CheckedOptions} checked
 * @param {Target} given the settings that do not depend on the client
 * @returns {Partial<Target>}
 */
function withClient(options, { client, transport }, given) {
  const isSet = (/** @type {string} */ option) => fromEnvironment(options[option]) != null;
  const [description, native] = toNative(describeClient(client), transport);
  given.location = locationOfClient(description);
  // The client's own limits apply unless the app sets them.
  if (!isSet('maxQueue')) {
    const { maxQueue = given.maxQueue, maxRetries, failsOffline } = description;
    Object.assign(given, { maxQueue, maxRetries, failsOffline });
  }
  if (transportOf(transport, description) === 'client' || native === undefined) {
    checkTransport(client);
    if (given.cache)
      throw cannotCombine(
        'cache',
        'client',
        `the client itself runs the commands, and does not report changes${why(description)}`,
      );
    // No warning if the app has chosen the transport itself.
    const isChosen = transport === 'client' || !isKnownClient(client);
    return { ...throughClient(client, description), reason: isChosen ? undefined : description.reason };
  }
  const { connectTimeout = given.connectTimeout, commandTimeout = given.commandTimeout } = native;
  if (!isSet('connectTimeout')) given.connectTimeout = connectTimeout;
  if (!isSet('commandTimeout')) given.commandTimeout = commandTimeout;
  const canFallBack = transport === undefined && !given.cache && native.settings.tls !== undefined;
  const fallback = canFallBack ? { ...given, ...throughClient(client, description) } : undefined;
  return { ...native, ...given, fallback };
}

/**
 * Returns the settings of a store whose commands run on its client.
 *
 * @type {(client: RedisClient, description: Description) => Pick<ClientTarget, 'client' | 'command' | 'name'>}
 */
function throughClient(client, { command }) {
  return { client, command, name: `the app's ${nameOf(client)}client` };
}

/**
 * Returns a client's description, and its settings as the addon's options, if the addon supports them. It checks the
 * TLS settings itself: its cryptography lacks keys of the curve P-521, for example.
 *
 * @type {(description: Description, wanted: CheckedOptions['transport']) => [Description, NativeTarget]}
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
 * @type {(wanted: CheckedOptions['transport'], description: Description) => 'native' | 'client'}
 */
function transportOf(wanted, { transport, reason }) {
  if (wanted === 'native' && transport === 'client')
    throw wrongValue(name('transport'), `'client' with this client: ${reason}`, wanted);
  return wanted ?? transport;
}

const why = (/** @type {Description} */ { reason }) => (reason === undefined ? '' : ` (${reason})`);

module.exports = { address };
