'use strict';

const { optionName, wrongType, wrongValue } = require('../common/errors.js');
const { describeGlide, alteringSetting, isGlide } = require('./glide.js');
const ioredis = require('./ioredis.js');
const nodeRedis = require('./node-redis.js');
const { NotCarried } = require('./settings.js');

const CLIENT = optionName('client');
const EXPECTED =
  'a client of redis (4 to 6), ioredis (4 to 6), iovalkey or valkey-glide (2), ' +
  'or another object that runs any command by "sendCommand(args)", "call(command, ...args)" or "customCommand(args)"';

/**
 * Describes a live client and its connection to Redis. Detects clients by their features: they are often facades, or
 * come from another copy of their package.
 *
 * The description has `command`, the form in which the client runs any command: `'call(command, ...args)'`,
 * `'sendCommand(args)'`, `'v4.sendCommand(args)'`, `'sendCommand(isReadonly, args)'`,
 * `'sendCommand(key, isReadonly, args)'`, `'customCommand(args)'` or, if there is no such call, `'command(...args)'`: a
 * method for each command. In addition, it has
 *
 * - `transport: 'native'` if a native connection can have the client's settings, with `topology` (`'standalone'`,
 *   `'sentinel'` or `'cluster'`), `nodes` (each with `host` and `port` or with `path`; those of sentinels are in
 *   `sentinel`, with its `name` and the sentinels' own `username`, `password` and `tls`), `natMap` (`host:port`
 *   to node), `database`, `username` and `password` or `credentials` (a function) and `renewals` (a provider that
 *   pushes new credentials), `tls` (options of Node), `keyPrefix`, `connectTimeout` and `commandTimeout` (ms). Settings
 *   that the client does not specify are undefined.
 * - else `transport: 'client'` and the `reason`.
 *
 * In both cases it has the client's limits on commands that wait while it is not connected: `failsOffline` (all fail
 * immediately), `maxRetries` (they fail after this many failed attempts to connect, plus one) and `maxQueue` (the
 * number that may wait).
 *
 * @throws {TypeError} if the value is not a client
 */
function describeClient(client) {
  const { command, describe, offlineLimits } = detect(client);
  const common = { command, ...offlineLimits?.(client) };
  try {
    return { ...common, transport: 'native', ...describe(client) };
  } catch (error) {
    if (!(error instanceof NotCarried)) throw error;
    return { ...common, transport: 'client', reason: error.message };
  }
}

function detect(client) {
  const invalid = () => wrongType(CLIENT, EXPECTED, client);
  if (typeof client !== 'object' || client === null || isUnsupported(client)) throw invalid();
  if (ioredis.isIoredis(client))
    return {
      command: 'call(command, ...args)',
      describe: ioredis.describeIoredis,
      offlineLimits: ioredis.offlineLimits,
    };
  if (nodeRedis.isNodeRedis(client))
    return {
      command: nodeRedis.commandForm(client),
      describe: nodeRedis.describeNodeRedis,
      offlineLimits: nodeRedis.offlineLimits,
    };
  if (isGlide(client)) return { command: 'customCommand(args)', describe: describeGlide };
  if (ioredis.isMock(client))
    return { command: 'command(...args)', describe: notCarried('a mock has no server to connect to') };
  // An app's wrapper that has the generic call of one of the clients.
  const unknown = notCarried('its settings are not where those of a known client are');
  if (typeof client.call === 'function') return { command: 'call(command, ...args)', describe: unknown };
  if (typeof client.sendCommand === 'function') return { command: 'sendCommand(args)', describe: unknown };
  if (typeof client.customCommand === 'function')
    return { command: 'customCommand(args)', describe: unknown };
  throw invalid();
}

function notCarried(reason) {
  return () => {
    throw new NotCarried(reason);
  };
}

/**
 * Returns true for an object that has the generic call of a client, but collects commands or supports only callbacks:
 * pipelines, and redis before version 4.
 */
function isUnsupported(object) {
  return (
    object.isPipeline === true ||
    typeof object.internal_send_command === 'function' ||
    typeof object.execAsPipeline === 'function' ||
    object.constructor?.name === 'RedisLegacyClient'
  );
}

/** Returns true for the client of a known package, so that the app can be warned about a setting. */
function isKnownClient(client) {
  return ioredis.isIoredis(client) || nodeRedis.isNodeRedis(client) || isGlide(client);
}

/** Returns the name of a client in error messages, followed by a space. */
function nameOf(client) {
  if (ioredis.isMock(client)) return 'ioredis-mock ';
  if (ioredis.isIoredis(client)) return 'ioredis ';
  if (nodeRedis.isNodeRedis(client)) return 'redis ';
  return isGlide(client) ? 'valkey-glide ' : '';
}

/** Rejects a client that cannot run the store's commands, although it has the call. @throws {TypeError} */
function checkTransport(client) {
  const setting = isGlide(client) ? alteringSetting(client) : undefined;
  if (setting !== undefined)
    throw wrongValue(CLIENT, `one without "${setting}" where it runs the commands itself`, undefined);
}

module.exports = { describeClient, isKnownClient, nameOf, checkTransport };
