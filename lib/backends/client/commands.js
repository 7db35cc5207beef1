'use strict';

/** @import { CommandForm, Job, Pin, RedisClient, Substitute, Text, Words } from '../../types.d.ts' */

/**
 * The forms in which clients run any command. `isReadonly` allows a replica; `key` is the command's key, if it has one.
 *
 * @type {Record<CommandForm, (client: RedisClient, words: any[], isReadonly: boolean, key?: Text) => unknown>}
 */
const forms = {
  // ioredis 4 and iovalkey find the position of the key only by names in lower case.
  'call(command, ...args)': (client, [command, ...args]) => client.call(command.toLowerCase(), ...args),
  'sendCommand(args)': (client, args) => client.sendCommand(args),
  // redis 4 in its legacyMode supports only callbacks elsewhere.
  'v4.sendCommand(args)': (client, args) => client.v4.sendCommand(args),
  'sendCommand(isReadonly, args)': (client, args, isReadonly) => client.sendCommand(isReadonly, args),
  'sendCommand(key, isReadonly, args)': (client, args, isReadonly, key) =>
    client.sendCommand(key, isReadonly, args),
  'customCommand(args)': (client, args) => client.customCommand(args),
  'command(...args)': (client, [command, ...args]) => {
    // A mock would ignore IFEQ, and store. This is the error of a server that does not support it.
    if (command === 'SET' && args[2] === 'IFEQ') throw new Error('ERR syntax error');
    return client[command.toLowerCase()](...args);
  },
};

/**
 * A command of a job. Its words are strings, or a Buffer for a value; the first is its name, and `keyAt` the index of
 * its key, 0 if it has none. A `node` runs it there, and a `pin` over one connection only.
 */
class Command {
  /** @param {Words} words @param {{ keyAt?: number, isRead?: boolean, node?: number, pin?: Pin }} traits */
  constructor(words, { keyAt = 1, isRead = false, node = 0, pin = undefined } = {}) {
    this.words = words;
    this.keyAt = keyAt;
    this.isRead = isRead;
    this.node = node;
    this.pin = pin;
    // Set by the executor: its job and its index there, its place in the order; and its last attempt.
    this.job = /** @type {Job} */ (/** @type {any} */ (undefined));
    this.index = 0;
    this.order = 0;
    this.attempt = 0;
    /** The number of times that it was sent. */
    this.attempts = 0;
    /** @type {Substitute | undefined} */
    this.substitute = undefined;
  }
}

/**
 * Creates the commands that read a session and its time to live. In this order, a save between the two cannot pair a
 * new text with an old time to live.
 *
 * @param {string} key
 */
const readCommands = (key) => ['GET', 'PTTL'].map((name) => new Command([name, key], { isRead: true }));

/** The most that `TTL`, which rounds to the nearest second, may have rounded off: no session ends early. */
const ROUNDING_MS = 499;

/** Substitutes of commands that the server does not support or denies. @type {Record<string, Substitute>} */
const substitutes = {
  GET: { name: 'MGET', restore: (reply) => (Array.isArray(reply) && reply.length === 1 ? reply[0] : reply) },
  PTTL: { name: 'TTL', restore: (reply) => (reply >= 0 ? reply * 1000 + ROUNDING_MS : reply) },
  // Rounds up: a session must not end early.
  PEXPIRE: { name: 'EXPIRE', words: ([key, ms]) => [key, String(Math.ceil(Number(ms) / 1000))] },
  UNLINK: { name: 'DEL' },
  DEL: { name: 'UNLINK' },
};

/** The deepest nesting of arrays in replies: `CLUSTER SLOTS` has four levels. */
const DEEPEST_REPLY = 16;

/**
 * Converts a client's reply to a string, an integer, null or an array of these. Returns a symbol for any other reply,
 * which fits no command.
 *
 * @param {unknown} reply
 * @returns {unknown}
 * @throws for a reply that is cyclic, nested too deeply, or throws when it is read
 */
function decode(reply, depth = 0) {
  if (typeof reply === 'string' || Number.isSafeInteger(reply)) return reply;
  if (reply === null || reply === undefined) return null;
  // valkey-glide returns booleans for the integers of some commands.
  if (typeof reply === 'boolean' || (typeof reply === 'bigint' && BigInt.asIntN(64, reply) === reply))
    return Number(reply);
  if (Array.isArray(reply)) {
    if (depth === DEEPEST_REPLY) throw new RangeError('A reply is nested too deeply.');
    return Array.from(reply, (element) => decode(element, depth + 1));
  }
  if (ArrayBuffer.isView(reply))
    return Buffer.from(reply.buffer, reply.byteOffset, reply.byteLength).toString();
  return Symbol('a reply of another type');
}

/** Returns true for an integer. Some clients return integers as strings. @param {unknown} reply */
function isInteger(reply) {
  return typeof reply === 'string' ? /^-?\d+$/.test(reply) : Number.isInteger(reply);
}

module.exports = { forms, Command, readCommands, substitutes, decode, isInteger };
