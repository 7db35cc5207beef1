'use strict';

const { optionName, wrongType, wrongValue } = require('../common/errors.js');
const { describeGlide, alteringSetting, isGlide } = require('./glide.js');
const ioredis = require('./ioredis.js');
const nodeRedis = require('./node-redis.js');
const { NotCarried } = require('./settings.js');

/** @import { ClientSettings, CommandForm, Description, OfflineLimits, RedisClient } from '../types.d.ts' */

/**
 * The means to describe one kind of client.
 *
 * @typedef {object} Kind
 * @property {CommandForm} command
 * @property {(client: RedisClient) => ClientSettings} describe throws a `NotCarried`
 * @property {(client: RedisClient) => OfflineLimits} [offlineLimits]
 */

const CLIENT = optionName('client');
const EXPECTED =
  'a client of redis (4 to 6), ioredis (4 to 6), iovalkey or valkey-glide (2), ' +
  'or another object that runs any command by "sendCommand(args)", "call(command, ...args)" or "customCommand(args)"';

/**
 * Describes a live client and its connection to Redis. Detects clients by their features: they are often facades, or
 * come from another copy of their package.
 *
 * @param {RedisClient} client
 * @returns {Description}
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

/** @param {RedisClient} client @returns {Kind} */
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

/** @param {string} reason @returns {() => never} */
function notCarried(reason) {
  return () => {
    throw new NotCarried(reason);
  };
}

/**
 * Returns true for an object that has the generic call of a client, but collects commands or supports only callbacks:
 * pipelines, and redis before version 4.
 *
 * @param {RedisClient} object
 */
function isUnsupported(object) {
  return (
    object.isPipeline === true ||
    typeof object.internal_send_command === 'function' ||
    typeof object.execAsPipeline === 'function' ||
    object.constructor?.name === 'RedisLegacyClient'
  );
}

/**
 * Returns true for the client of a known package, so that the app can be warned about a setting.
 *
 * @param {RedisClient} client
 */
function isKnownClient(client) {
  return ioredis.isIoredis(client) || nodeRedis.isNodeRedis(client) || isGlide(client);
}

/** Returns the name of a client in error messages, followed by a space. @param {RedisClient} client */
function nameOf(client) {
  if (ioredis.isMock(client)) return 'ioredis-mock ';
  if (ioredis.isIoredis(client)) return 'ioredis ';
  if (nodeRedis.isNodeRedis(client)) return 'redis ';
  return isGlide(client) ? 'valkey-glide ' : '';
}

/**
 * Rejects a client that cannot run the store's commands, although it has the call.
 *
 * @param {RedisClient} client
 * @throws {TypeError}
 */
function checkTransport(client) {
  const setting = isGlide(client) ? alteringSetting(client) : undefined;
  if (setting !== undefined)
    throw wrongValue(CLIENT, `one without "${setting}" where it runs the commands itself`, undefined);
}

module.exports = { describeClient, isKnownClient, nameOf, checkTransport };
