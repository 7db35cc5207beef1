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

/** What became of a command; core/src/connection/client/port.rs knows the same numbers. */
const REPLY = 0;
const LOST = 1;
const FAILED = 2;

/** Each form in which a client runs any command. `key` is the command's key, if it has one. */
const forms = {
  // ioredis 4 and iovalkey know by names in small letters alone where the key is.
  'call(command, ...args)': (client, [command, ...args]) => client.call(command.toLowerCase(), ...args),
  'sendCommand(args)': (client, words) => client.sendCommand(words),
  // redis 4 in its legacyMode answers by callbacks elsewhere.
  'v4.sendCommand(args)': (client, words) => client.v4.sendCommand(words),
  'sendCommand(isReadonly, args)': (client, words, isReadonly) => client.sendCommand(isReadonly, words),
  'sendCommand(key, isReadonly, args)': (client, words, isReadonly, key) =>
    client.sendCommand(key, isReadonly, words),
  'customCommand(args)': (client, words) => client.customCommand(words),
  'command(...args)': (client, [command, ...args]) => {
    // A mock would take no notice of it, and store. This is what a server without it says.
    if (command === 'SET' && args[2] === 'IFEQ') throw new Error('ERR syntax error');
    return client[command.toLowerCase()](...args);
  },
};

/** Commands all of whose arguments are keys. */
const OF_KEYS = ['MGET', 'DEL', 'UNLINK', 'EXISTS'];
/** After which a client may be in another state. */
const STATE_EVENTS = ['connect', 'ready', 'close', 'reconnecting', 'end', 'disconnect'];
const IOREDIS_CONNECTED = ['ready', 'wait']; // 'wait': it connects with its first command
const LONGEST_MESSAGE = 200;
/** Arrays within one another: those of `CLUSTER SLOTS` are four. The addon reads 100. */
const DEEPEST_REPLY = 16;
/** Words of a command that are as long as this may be a part of a secret. */
const SHORTEST_SECRET = 8;

/** Each client has a number, by which the addon knows it: stores with the same client share a connection. */
const numberOf = objectIds();

/** What the addon is to know of a client that runs the commands. */
function clientSettings(client) {
  return {
    number: numberOf(client),
    name: `the app's ${nameOf(client)}client`,
    isCluster: ClientNodes.isCluster(client),
  };
}

/** As errors name it, with a space after it. */
function nameOf(client) {
  if (isMock(client)) return 'ioredis-mock ';
  if (isIoredis(client)) return 'ioredis ';
  if (isNodeRedis(client)) return 'redis ';
  return isGlide(client) ? 'valkey-glide ' : '';
}

/** The prefix that a client puts before keys by itself, or would, were it not for its generic call. */
function keyPrefixOf(client) {
  const options = client.options ?? client._options ?? {};
  const prefix = client._keyPrefix ?? options.keyPrefix ?? options.redisOptions?.keyPrefix;
  return typeof prefix === 'string' && prefix !== '' ? prefix : undefined;
}

/**
 * Runs the commands of a connection on the app's own client, as a request that is under way for as long as the
 * connection. The addon holds it, and through it the client; it holds no store.
 */
class Transport {
  #client;
  #run;
  /** What ioredis puts before keys, which have it already: it is the addon that knows which keys there are. */
  #prefix;
  #readsFromReplicas;
  #nodes;
  #port;
  #isListening = false;
  /** Of clients of redis: some do not tell when they are closed. */
  #wasOpen = false;
  /** Replies that go to the addon when this tick's have come. */
  #replies = '';
  #count = 0;

  /** @param {{ command: string }} where the form in which the client runs commands, and which servers are read */
  constructor(client, { command, readsFromReplicas }) {
    this.#client = client;
    this.#run = forms[command];
    this.#readsFromReplicas = readsFromReplicas;
    this.#nodes = new ClientNodes(client);
    const prefixes = command === 'call(command, ...args)' || command === 'command(...args)';
    this.#prefix = (prefixes && isIoredisLike(client) && keyPrefixOf(client)) || '';
  }

  /** @param port by which the addon is answered */
  begin(port) {
    this.#port = port;
  }

  complete(kind, text) {
    if (kind === Kind.COMMANDS) this.#execute(text);
    else if (kind === Kind.ENDED) this.#leave();
    else if (text === 'state') this.#tellState();
    else if (text === 'nodes') this.#tellNodes();
  }

  // ---- How the client is ----

  #tellState = () => {
    this.#listen();
    const isClosed = this.#isClosed;
    this.#wasOpen ||= this.#client.isOpen === true;
    if (isClosed) {
      this.#port.ended();
      return;
    }
    const cause = whyAway(this.#client);
    if (cause === undefined) this.#port.connected();
    else this.#port.away(cause);
  };

  /** The app has ended it, whether or not it told. */
  get #isClosed() {
    const client = this.#client;
    const isOver = client.status === 'end' || client.isClosed === true; // of ioredis, and of valkey-glide
    return isOver || (this.#wasOpen && client.isOpen === false) || hasEnded(client);
  }

  #tellError = (error) => this.#port.failed(readError(error).message);

  #tellEnd = () => this.#port.ended();

  #listen() {
    const client = this.#client;
    if (this.#isListening || typeof client.on !== 'function' || typeof client.off !== 'function') return;
    this.#isListening = true;
    for (const event of STATE_EVENTS) client.on(event, this.#tellState);
    // An 'error' that nobody listens to is the app's to learn of.
    client.on(errorMonitor, this.#tellError);
    client.on(endEvent(client), this.#tellEnd);
  }

  #leave() {
    if (!this.#isListening) return;
    const client = this.#client;
    for (const event of STATE_EVENTS) client.off(event, this.#tellState);
    client.off(errorMonitor, this.#tellError);
    client.off(endEvent(client), this.#tellEnd);
  }

  async #tellNodes() {
    try {
      this.#port.nodes(await this.#nodes.find());
    } catch (error) {
      this.#port.noNodes(readError(error).message);
    }
  }

  // ---- Commands ----

  /** Takes a batch as `Executor::run` of core/src/connection/client/port.rs describes it. */
  #execute(batch) {
    const end = batch.indexOf('\n');
    const numbers = JSON.parse(batch.slice(0, end));
    let place = end + 1;
    for (let at = 0; at < numbers.length; ) {
      const [number, node, keyAt, reads, count] = numbers.slice(at, at + 5);
      at += 5;
      const words = [];
      for (let index = 0; index < count; index++) {
        const length = numbers[at++];
        words.push(batch.slice(place, place + length));
        place += length;
      }
      this.#send(number, node, words, keyAt - 1, reads === 1);
    }
  }

  #send(number, node, words, keyAt, isRead) {
    const key = words[keyAt];
    if (this.#prefix !== '') this.#unprefix(words, keyAt);
    try {
      const answer =
        node > 0
          ? this.#nodes.run(node, words)
          : this.#run(this.#client, words, isRead && this.#readsFromReplicas, key);
      if (typeof answer?.then !== 'function') this.#reply(number, answer);
      // By a promise of ours: a thenable may throw, or answer twice.
      else
        Promise.resolve(answer).then(
          (reply) => this.#reply(number, reply),
          (error) => this.#fail(number, error, words),
        );
    } catch (error) {
      this.#fail(number, error, words);
    }
  }

  #reply(number, reply) {
    let encoded;
    try {
      encoded = encode(reply);
    } catch {
      // Cyclic, nested too deeply, or one that throws when it is read.
      this.#answer(number, FAILED, bulk('its reply cannot be read'));
      return;
    }
    this.#answer(number, REPLY, encoded);
  }

  #unprefix(words, keyAt) {
    const first = OF_KEYS.includes(words[0]) ? 1 : keyAt;
    const after = OF_KEYS.includes(words[0]) ? words.length : keyAt + 1;
    for (let index = Math.max(first, 1); index < after; index++)
      if (words[index].startsWith(this.#prefix)) words[index] = words[index].slice(this.#prefix.length);
  }

  #fail(number, error, words) {
    const { message, isReply, isMistake } = readError(error);
    if (isReply) this.#answer(number, REPLY, `-${withoutSecrets(message, words)}\r\n`);
    // Some do not say that they are closed, and break.
    else if (this.#isClosed) this.#tellState();
    else this.#answer(number, isMistake ? FAILED : LOST, bulk(withoutSecrets(message, words)));
  }

  /** What comes in one tick is handed over together, after it. */
  #answer(number, kind, encoded) {
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

/** Why a client is not connected; undefined if it is, or does not tell. */
function whyAway({ status, isReady, isOpen }) {
  if (typeof isReady === 'boolean') return isReady ? undefined : 'it is not connected';
  if (typeof isOpen === 'boolean') return isOpen ? undefined : 'it is not connected';
  if (typeof status !== 'string' || IOREDIS_CONNECTED.includes(status)) return undefined;
  return `its status is "${status}"`;
}

/** A reply in the server's protocol. @throws for one that the addon could not read, nor what comes after it */
function encode(reply, depth = 0) {
  if (typeof reply === 'string') return bulk(reply);
  if (typeof reply === 'number' && Number.isSafeInteger(reply)) return `:${reply}\r\n`;
  if (reply === null || reply === undefined) return '$-1\r\n';
  if (typeof reply === 'bigint' && BigInt.asIntN(64, reply) === reply) return `:${reply}\r\n`;
  // valkey-glide makes them of the integers of some commands.
  if (typeof reply === 'boolean') return `:${Number(reply)}\r\n`;
  if (Array.isArray(reply)) {
    if (depth === DEEPEST_REPLY) throw new RangeError('A reply is nested too deeply.');
    const elements = Array.from(reply, (element) => encode(element, depth + 1));
    return `*${elements.length}\r\n${elements.join('')}`;
  }
  if (ArrayBuffer.isView(reply))
    return bulk(Buffer.from(reply.buffer, reply.byteOffset, reply.byteLength).toString());
  // Something that none of our commands is answered with.
  return '%0\r\n';
}

function bulk(text) {
  return `$${Buffer.byteLength(text)}\r\n${text}\r\n`;
}

/** The message and kind of an error of the client. */
function readError(error) {
  try {
    const message = messageOf(error);
    return { message, isReply: isReply(error, message), isMistake: isMistake(error) };
  } catch {
    return { message: 'its error cannot be read', isReply: false, isMistake: true };
  }
}

function messageOf(error) {
  const text = error instanceof Error || typeof error?.message === 'string' ? error.message : '';
  // One of the errors of redis 6 has no message.
  const message = text || error?.code || error?.name || 'it gave no reason';
  return asServed(error, String(message))
    .replace(/\s+/g, ' ')
    .replace(/\/\/[^@/\s]*@/g, '//');
}

/** What the words of valkey-glide stand for in the server's errors. */
const GLIDE_WORDS = {
  ResponseError: 'ERR',
  NoScriptError: 'NOSCRIPT',
  BusyLoadingError: 'LOADING',
  TryAgain: 'TRYAGAIN',
  ClusterDown: 'CLUSTERDOWN',
  MasterDown: 'MASTERDOWN',
  ReadOnly: 'READONLY',
};

/** A server's error in its own words. */
function asServed(error, message) {
  if (error?.constructor?.name !== 'RequestError') return message;
  return message
    .replace(
      /^An error was signalled by the server: - (\w+): /,
      (_all, word) => `${GLIDE_WORDS[word] ?? 'ERR'} `,
    )
    .replace(/^([A-Z]+): /, '$1 ');
}

/** A client, or a wrapper of one, may quote the command. */
function withoutSecrets(message, words) {
  const isQuoted = (word) => word.length >= SHORTEST_SECRET && message.includes(word);
  const parts = words.slice(1).flatMap((word) => [word, word.slice(word.lastIndexOf(':') + 1)]);
  if (parts.some(isQuoted)) return `${/^[A-Z][A-Z0-9_]+ |/.exec(message)[0]}its message quotes the command`;
  return message.slice(0, LONGEST_MESSAGE);
}

/**
 * An error that the server replied with begins with a word in capitals; those of the system do, too, and the code of
 * one that has no message.
 */
function isReply(error, message) {
  return Boolean(error?.message) && error.syscall === undefined && /^[A-Z][A-Z0-9_]+( |$)/.test(message);
}

/** What would fail the next time as well. */
function isMistake(error) {
  return error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError;
}

module.exports = { Transport, clientSettings, keyPrefixOf, nameOf };
