'use strict';

const { errorMonitor } = require('node:events');
const { Kind } = require('../boundary/request.js');
const { endEvent, hasEnded } = require('../clients/closing.js');
const { isGlide } = require('../clients/glide.js');
const { isIoredis, isMock } = require('../clients/ioredis.js');
const { isNodeRedis } = require('../clients/node-redis.js');
const { ClientNodes } = require('../clients/nodes.js');
const { objectIds } = require('../common/object-ids.js');
const { nextTick } = require('../common/timers.js');

/** The outcomes of a command; core/src/connection/client/port.rs has the same numbers. */
const REPLY = 0;
const LOST = 1;
const FAILED = 2;

/** The forms in which clients run any command. `key` is the command's key, if it has one. */
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

/** Commands whose arguments are all keys. */
const KEYS_ONLY = ['MGET', 'DEL', 'UNLINK', 'EXISTS'];
/** Events after which the state of a client may have changed. */
const STATE_EVENTS = ['connect', 'ready', 'close', 'reconnecting', 'end', 'disconnect'];
const IOREDIS_CONNECTED = ['ready', 'wait']; // 'wait': connects with its first command
const LONGEST_MESSAGE = 200;
/** The deepest nesting of arrays in replies: `CLUSTER SLOTS` has four levels; the addon reads 100. */
const DEEPEST_REPLY = 16;
/** Arguments of at least this length may be part of a secret. */
const SHORTEST_SECRET = 8;

/** Returns the number by which the addon identifies a client: stores with the same client share a connection. */
const numberOf = objectIds();

/** Returns the addon's settings for a client that runs the commands. */
function clientSettings(client) {
  return {
    number: numberOf(client),
    name: `the app's ${nameOf(client)}client`,
    isCluster: ClientNodes.isCluster(client),
  };
}

/** Returns the name of a client in error messages, followed by a space. */
function nameOf(client) {
  if (isMock(client)) return 'ioredis-mock ';
  if (isIoredis(client)) return 'ioredis ';
  if (isNodeRedis(client)) return 'redis ';
  return isGlide(client) ? 'valkey-glide ' : '';
}

/** Returns the key prefix of a client's settings, which its generic call may not add. */
function keyPrefixOf(client) {
  const options = client.options ?? client._options ?? {};
  const prefix = client._keyPrefix ?? options.keyPrefix ?? options.redisOptions?.keyPrefix;
  return typeof prefix === 'string' && prefix !== '' ? prefix : undefined;
}

/**
 * Runs the commands of a connection on the app's client. It is a request that is pending as long as the connection. The
 * addon references it, and through it the client; it references no store.
 */
class Transport {
  #client;
  #run;
  /** The key prefix that ioredis adds. Removed from keys before, because the addon has already added it. */
  #prefix;
  #readsFromReplicas;
  #nodes;
  #port;
  #isListening = false;
  /** True once a client of redis was open: some do not report when they are closed. */
  #wasOpen = false;
  /** The encoded replies of this tick, which go to the addon at its end. */
  #replies = '';
  #count = 0;

  /**
   * @param {{ command: string }} target the form in which the client runs commands, and whether it reads from replicas
   */
  constructor(client, { command, readsFromReplicas }) {
    this.#client = client;
    this.#run = forms[command];
    this.#readsFromReplicas = readsFromReplicas;
    this.#nodes = new ClientNodes(client);
    const prefixes = command === 'call(command, ...args)' || command === 'command(...args)';
    this.#prefix = (prefixes && isIoredisLike(client) && keyPrefixOf(client)) || '';
  }

  /** @param port receives the replies and states for the addon */
  begin(port) {
    this.#port = port;
  }

  complete(kind, text) {
    if (kind === Kind.COMMANDS) this.#execute(text);
    else if (kind === Kind.ENDED) this.#unlisten();
    else if (text === 'state') this.#reportState();
    else if (text === 'nodes') this.#reportNodes();
  }

  // ---- State of the client ----

  #reportState = () => {
    this.#listen();
    const isClosed = this.#isClosed;
    this.#wasOpen ||= this.#client.isOpen === true;
    if (isClosed) {
      this.#port.ended();
      return;
    }
    const cause = disconnectReason(this.#client);
    if (cause === undefined) this.#port.connected();
    else this.#port.away(cause);
  };

  /** The app has closed the client, even if that did not report it. */
  get #isClosed() {
    const client = this.#client;
    const isOver = client.status === 'end' || client.isClosed === true; // ioredis, valkey-glide
    return isOver || (this.#wasOpen && client.isOpen === false) || hasEnded(client);
  }

  #reportError = (error) => this.#port.failed(readError(error).message);

  #reportEnd = () => this.#port.ended();

  #listen() {
    const client = this.#client;
    if (this.#isListening || typeof client.on !== 'function' || typeof client.off !== 'function') return;
    this.#isListening = true;
    for (const event of STATE_EVENTS) client.on(event, this.#reportState);
    // `errorMonitor` rather than 'error', which would hide errors that the app does not handle.
    client.on(errorMonitor, this.#reportError);
    client.on(endEvent(client), this.#reportEnd);
  }

  #unlisten() {
    if (!this.#isListening) return;
    const client = this.#client;
    for (const event of STATE_EVENTS) client.off(event, this.#reportState);
    client.off(errorMonitor, this.#reportError);
    client.off(endEvent(client), this.#reportEnd);
  }

  async #reportNodes() {
    try {
      this.#port.nodes(await this.#nodes.find());
    } catch (error) {
      this.#port.noNodes(readError(error).message);
    }
  }

  // ---- Commands ----

  /** Runs a batch, whose format `Executor::run` in core/src/connection/client/port.rs describes. */
  #execute(batch) {
    const end = batch.indexOf('\n');
    const numbers = JSON.parse(batch.slice(0, end));
    let place = end + 1;
    for (let at = 0; at < numbers.length; ) {
      const [number, node, keyAt, reads, count] = numbers.slice(at, at + 5);
      at += 5;
      const args = [];
      for (let index = 0; index < count; index++) {
        const length = numbers[at++];
        args.push(batch.slice(place, place + length));
        place += length;
      }
      this.#send(number, node, args, keyAt - 1, reads === 1);
    }
  }

  #send(number, node, args, keyAt, isRead) {
    const key = args[keyAt];
    if (this.#prefix !== '') this.#removePrefix(args, keyAt);
    try {
      const result =
        node > 0
          ? this.#nodes.run(node, args)
          : this.#run(this.#client, args, isRead && this.#readsFromReplicas, key);
      if (typeof result?.then !== 'function') this.#reply(number, result);
      // Wrapped in a promise: a thenable may throw, or settle twice.
      else
        Promise.resolve(result).then(
          (reply) => this.#reply(number, reply),
          (error) => this.#fail(number, error, args),
        );
    } catch (error) {
      this.#fail(number, error, args);
    }
  }

  #reply(number, reply) {
    let encoded;
    try {
      encoded = encode(reply);
    } catch {
      // The reply is cyclic, nested too deeply, or throws when it is read.
      this.#queueReply(number, FAILED, bulk('its reply cannot be read'));
      return;
    }
    this.#queueReply(number, REPLY, encoded);
  }

  #removePrefix(args, keyAt) {
    const first = KEYS_ONLY.includes(args[0]) ? 1 : keyAt;
    const after = KEYS_ONLY.includes(args[0]) ? args.length : keyAt + 1;
    for (let index = Math.max(first, 1); index < after; index++)
      if (args[index].startsWith(this.#prefix)) args[index] = args[index].slice(this.#prefix.length);
  }

  #fail(number, error, args) {
    const { message, isReply, isPermanent } = readError(error);
    if (isReply) this.#queueReply(number, REPLY, `-${withoutSecrets(message, args)}\r\n`);
    // Some clients do not report that they are closed, and fail commands.
    else if (this.#isClosed) this.#reportState();
    else this.#queueReply(number, isPermanent ? FAILED : LOST, bulk(withoutSecrets(message, args)));
  }

  /** Queues a reply. The replies of one tick go to the addon together, after it. */
  #queueReply(number, kind, encoded) {
    if (this.#count++ === 0) nextTick(this.#flush);
    this.#replies += `:${number}\r\n:${kind}\r\n${encoded}`;
  }

  #flush = () => {
    const replies = Buffer.from(`*${3 * this.#count}\r\n${this.#replies}`);
    this.#replies = '';
    this.#count = 0;
    this.#port.replies(replies);
  };
}

function isIoredisLike(client) {
  return isIoredis(client) || isMock(client);
}

/** Returns the reason why a client is not connected; undefined if it is, or if its state is unknown. */
function disconnectReason({ status, isReady, isOpen }) {
  if (typeof isReady === 'boolean') return isReady ? undefined : 'it is not connected';
  if (typeof isOpen === 'boolean') return isOpen ? undefined : 'it is not connected';
  if (typeof status !== 'string' || IOREDIS_CONNECTED.includes(status)) return undefined;
  return `its status is "${status}"`;
}

/** Encodes a reply as RESP. @throws for a reply that would make the addon misread the replies after it */
function encode(reply, depth = 0) {
  if (typeof reply === 'string') return bulk(reply);
  if (typeof reply === 'number' && Number.isSafeInteger(reply)) return `:${reply}\r\n`;
  if (reply === null || reply === undefined) return '$-1\r\n';
  if (typeof reply === 'bigint' && BigInt.asIntN(64, reply) === reply) return `:${reply}\r\n`;
  // valkey-glide returns booleans for the integers of some commands.
  if (typeof reply === 'boolean') return `:${Number(reply)}\r\n`;
  if (Array.isArray(reply)) {
    if (depth === DEEPEST_REPLY) throw new RangeError('A reply is nested too deeply.');
    const elements = Array.from(reply, (element) => encode(element, depth + 1));
    return `*${elements.length}\r\n${elements.join('')}`;
  }
  if (ArrayBuffer.isView(reply))
    return bulk(Buffer.from(reply.buffer, reply.byteOffset, reply.byteLength).toString());
  // An empty map, which none of our commands returns: an unexpected reply.
  return '%0\r\n';
}

function bulk(text) {
  return `$${Buffer.byteLength(text)}\r\n${text}\r\n`;
}

/** Returns message and kind of a client's error. */
function readError(error) {
  try {
    const message = messageOf(error);
    return { message, isReply: isReply(error, message), isPermanent: isPermanent(error) };
  } catch {
    return { message: 'its error cannot be read', isReply: false, isPermanent: true };
  }
}

function messageOf(error) {
  const text = error instanceof Error || typeof error?.message === 'string' ? error.message : '';
  // One of the errors of redis 6 has no message.
  const message = text || error?.code || error?.name || 'it gave no reason';
  return restoreServerError(error, String(message))
    .replace(/\s+/g, ' ')
    .replace(/\/\/[^@/\s]*@/g, '//');
}

/** The server's error codes by valkey-glide's names for them. */
const GLIDE_WORDS = {
  ResponseError: 'ERR',
  NoScriptError: 'NOSCRIPT',
  BusyLoadingError: 'LOADING',
  TryAgain: 'TRYAGAIN',
  ClusterDown: 'CLUSTERDOWN',
  MasterDown: 'MASTERDOWN',
  ReadOnly: 'READONLY',
};

/** Restores a server's error message that valkey-glide has rewritten. */
function restoreServerError(error, message) {
  if (error?.constructor?.name !== 'RequestError') return message;
  return message
    .replace(
      /^An error was signalled by the server: - (\w+): /,
      (_all, word) => `${GLIDE_WORDS[word] ?? 'ERR'} `,
    )
    .replace(/^([A-Z]+): /, '$1 ');
}

/** Replaces an error message that quotes the command, as some clients and wrappers do, and limits its length. */
function withoutSecrets(message, args) {
  const isQuoted = (word) => word.length >= SHORTEST_SECRET && message.includes(word);
  const parts = args.slice(1).flatMap((word) => [word, word.slice(word.lastIndexOf(':') + 1)]);
  if (parts.some(isQuoted)) return `${/^[A-Z][A-Z0-9_]+ |/.exec(message)[0]}its message quotes the command`;
  return message.slice(0, LONGEST_MESSAGE);
}

/**
 * Returns true for an error that the server replied with: its message begins with a word in capitals, as does that of a
 * system error, or the code of an error without a message.
 */
function isReply(error, message) {
  return Boolean(error?.message) && error.syscall === undefined && /^[A-Z][A-Z0-9_]+( |$)/.test(message);
}

/** Returns true for an error that a retry would not fix. */
function isPermanent(error) {
  return error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError;
}

module.exports = { Transport, clientSettings, keyPrefixOf, nameOf };
