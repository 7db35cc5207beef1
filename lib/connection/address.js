'use strict';

const { checkTlsSettings } = require('../boundary/native.js');
const { adoptSettings } = require('../clients/adopt.js');
const { checkTransport, describeClient, isKnownClient } = require('../clients/client.js');
const { optionName: name, wrongType, wrongValue } = require('../common/errors.js');
const { check } = require('../options.js');
const { numberOf } = require('./credentials.js');
const { tlsSettings } = require('./tls.js');
const { serversOf } = require('./topology.js');
const { clientSettings, keyPrefixOf } = require('./transport.js');

/** Options that say where Redis is and how to be let in; a client says it itself. */
const BESIDE_CLIENT = [
  'url',
  'sentinel',
  'cluster',
  'tls',
  'credentials',
  'username',
  'password',
  'database',
];

/** By which clients run any command. */
const COMMAND_CALLS = ['sendCommand', 'call', 'customCommand'];

/** Options of which one at most says where Redis is, where no client does. */
const PLACES = ['url', 'sentinel', 'cluster'];
/** What stands beside `sentinel` and `cluster`; a URL has it in itself. */
const BESIDE_SERVERS = ['username', 'password', 'database'];
/**
 * Options by which old versions of connect-redis were told where Redis is, and what says it beside `sentinel` and
 * `cluster`. Beside a client they mean nothing, as in connect-redis.
 */
const FORMER = { host: '', port: '', socket: '', db: 'database', pass: 'password' };

/** Refuses a client in the place of the options: it would be a store on localhost:6379, whosever Redis that is. */
function checkNoClient(options) {
  if (COMMAND_CALLS.some((call) => typeof options[call] === 'function'))
    throw wrongType('The argument of RedisStore', 'an object of options, such as { client }', options);
}

/** Refuses what would be ignored. */
function checkPlace(options) {
  const given = (option) => options[option] != null;
  const [place, another] = PLACES.filter(given);
  if (another !== undefined)
    throw wrongValue(name(another), `left out beside "${place}": either says where Redis is`, undefined);
  const hasServers = place === 'sentinel' || place === 'cluster';
  const former = Object.keys(FORMER).find(given);
  if (former !== undefined && hasServers)
    throw wrongValue(name(former), `left out: "${FORMER[former] || place}" says it`, undefined);
  const beside = former ?? (hasServers ? undefined : BESIDE_SERVERS.find(given));
  if (beside !== undefined)
    throw wrongValue(
      name(beside),
      'left out: a "url" says it, such as redis://user:password@host:6379/5 or redis+unix:///run/redis.sock?db=5',
      undefined,
    );
  const account = ['username', 'password'].find(given);
  if (account !== undefined && given('credentials'))
    throw wrongValue(name(account), 'left out beside "credentials", which gives it', undefined);
}

/** Where Redis is and how to use it: the part of the addon's options that the connection needs. */
function address(options) {
  checkNoClient(options);
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
    const beside = BESIDE_CLIENT.find((option) => options[option] != null);
    if (beside !== undefined)
      throw wrongValue(name(beside), 'left out beside "client", which says where Redis is', undefined);
    const [description, adopted] = adopt(describeClient(client), transport);
    // What the client does while it is not connected, unless the app has said how many operations may wait.
    if (given.maxQueue === undefined)
      for (const setting of ['maxQueue', 'maxRetries', 'failsOffline']) given[setting] = description[setting];
    if (transportOf(transport, description) === 'client') {
      checkTransport(client);
      if (given.cache)
        throw wrongValue(
          name('cache'),
          `left out where the client itself runs the commands, which is not told of changes${why(description)}`,
          undefined,
        );
      // What the app asks for itself needs no warning.
      const isAsked = transport === 'client' || !isKnownClient(client);
      return {
        ...given,
        ...throughClient(client, description),
        reason: isAsked ? undefined : description.reason,
      };
    }
    for (const limit of ['connectTimeout', 'commandTimeout']) given[limit] ??= adopted[limit];
    const canFallBack = transport === undefined && !given.cache && adopted.settings.tls !== undefined;
    const fallback = canFallBack ? { ...given, ...throughClient(client, description) } : undefined;
    return { ...adopted, ...given, fallback };
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

/** URLs that mean TLS. */
const SECURE = /^\s*(rediss|valkeys)/i;

/** Settings of a store whose commands run on its client. */
function throughClient(client, { command }) {
  return { client: clientSettings(client), command, keyPrefix: keyPrefixOf(client) };
}

/**
 * A client's description, and its settings as the addon takes them if the addon can have them. What the addon has no
 * cryptography for, such as keys of the curve P-521, it says of the settings alone.
 */
function adopt(description, wanted) {
  if (description.transport === 'client' || wanted === 'client') return [description, undefined];
  const adopted = adoptSettings(description);
  const parts = [adopted.settings.tls, adopted.sentinel?.tls];
  const objection = wanted === undefined && parts.map((tls) => tls && checkTlsSettings(tls)).find(Boolean);
  if (!objection) return [description, adopted];
  const reason = `its TLS settings cannot be carried over: ${objection}`;
  return [{ ...description, transport: 'client', reason }, undefined];
}

/** By what to run commands, for a client that is described so. */
function transportOf(wanted, { transport, reason }) {
  if (wanted === 'native' && transport === 'client')
    throw wrongValue(name('transport'), `'client' or left out with this client: ${reason}`, wanted);
  return wanted ?? transport;
}

const why = ({ reason }) => (reason === undefined ? '' : ` (${reason})`);

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
