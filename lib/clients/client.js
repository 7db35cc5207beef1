'use strict';

const { optionName, wrongType, wrongValue } = require('../common/errors.js');
const { describeGlide, falsifies, isGlide } = require('./glide.js');
const ioredis = require('./ioredis.js');
const nodeRedis = require('./node-redis.js');
const { NotCarried } = require('./settings.js');

const CLIENT = optionName('client');
const EXPECTED =
  'a client of redis (4 to 6), ioredis (4 to 6), iovalkey or valkey-glide (2), ' +
  'or another object that runs any command by "sendCommand(args)", "call(command, ...args)" or "customCommand(args)"';

/**
 * Reads what a live client is and how it reaches Redis. Detected by features: clients are often facades, or
 * come from another copy of their package.
 *
 * The description has `command`, the form in which the client runs any command: `'call(command, ...args)'`,
 * `'sendCommand(args)'`, `'v4.sendCommand(args)'`, `'sendCommand(isReadonly, args)'`,
 * `'sendCommand(key, isReadonly, args)'`, `'customCommand(args)'` or, where there is no such call, `'command(...args)'`: a method for each command. And
 *
 * - where a connection of our own can have its settings, `transport: 'native'`, `topology` (`'standalone'`,
 *   `'sentinel'` or `'cluster'`), `nodes` (each with `host` and `port` or with `path`; of a sentinel group, in
 *   `sentinel`, beside its `name` and the sentinels' own `username`, `password` and `tls`), `natMap` (`host:port`
 *   to node), `database`, `username` and `password` or `credentials` (a function)
 *   and `renewals` (a provider that tells of new ones), `tls` (in Node's words),
 *   `keyPrefix`, `connectTimeout` and `commandTimeout` (ms). What the client does not say is undefined.
 * - else `transport: 'client'` and the `reason`.
 *
 * In both cases it has what the client does with commands while it is not connected, where that is not to have them
 * wait: `failsOffline` (all fail at once), `maxRetries` (they fail after so many attempts to connect and one) and
 * `maxQueue` (so many may wait).
 *
 * @throws {TypeError} if it is no client
 */
function describeClient(client) {
  const { command, describe, waitingOf } = familyOf(client);
  const common = { command, ...waitingOf?.(client) };
  try {
    return { ...common, transport: 'native', ...describe(client) };
  } catch (error) {
    if (!(error instanceof NotCarried)) throw error;
    return { ...common, transport: 'client', reason: error.message };
  }
}

function familyOf(client) {
  const none = () => wrongType(CLIENT, EXPECTED, client);
  if (typeof client !== 'object' || client === null || isNoClient(client)) throw none();
  if (ioredis.isIoredis(client))
    return {
      command: 'call(command, ...args)',
      describe: ioredis.describeIoredis,
      waitingOf: ioredis.waitingOf,
    };
  if (nodeRedis.isNodeRedis(client))
    return {
      command: nodeRedis.commandForm(client),
      describe: nodeRedis.describeNodeRedis,
      waitingOf: nodeRedis.waitingOf,
    };
  if (isGlide(client)) return { command: 'customCommand(args)', describe: describeGlide };
  if (ioredis.isMock(client))
    return { command: 'command(...args)', describe: cannot('a mock has no server to connect to') };
  // A wrapper of the app's own that has the generic call of one of them.
  const unknown = cannot('its settings are not where those of a known client are');
  if (typeof client.call === 'function') return { command: 'call(command, ...args)', describe: unknown };
  if (typeof client.sendCommand === 'function') return { command: 'sendCommand(args)', describe: unknown };
  if (typeof client.customCommand === 'function')
    return { command: 'customCommand(args)', describe: unknown };
  throw none();
}

function cannot(reason) {
  return () => {
    throw new NotCarried(reason);
  };
}

/**
 * What has the generic call of a client, but gathers commands, or answers by callbacks alone: parts of clients, and
 * redis before version 4.
 */
function isNoClient(object) {
  return (
    object.isPipeline === true ||
    typeof object.internal_send_command === 'function' ||
    typeof object.execAsPipeline === 'function' ||
    object.constructor?.name === 'RedisLegacyClient'
  );
}

/** Returns true for the client of a package that is known, whose settings can be named to the app. */
function isKnownClient(client) {
  return ioredis.isIoredis(client) || nodeRedis.isNodeRedis(client) || isGlide(client);
}

/** Refuses a client that cannot run commands for others, though it has the call. @throws {TypeError} */
function checkTransport(client) {
  const setting = isGlide(client) ? falsifies(client) : undefined;
  if (setting !== undefined)
    throw wrongValue(CLIENT, `one without "${setting}" where it runs the commands itself`, undefined);
}

module.exports = { describeClient, isKnownClient, checkTransport };
