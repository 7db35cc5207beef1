'use strict';

const { redact } = require('../../boundary/native.js');
const { RedisStoreError } = require('../../common/store-error.js');

/** @import { ErrorCode } from '../../../index.js' */
/** @import { CauseDetails, ErrorDetails, Words } from '../../types.d.ts' */

/** The reason for a failure, without secrets. Its text is its message. */
class Cause {
  /** @param {string} message @param {Omit<CauseDetails, 'message'>} details */
  constructor(message, details = {}) {
    this.message = message;
    Object.assign(this, details);
  }

  toString() {
    return this.message;
  }
}

/**
 * The traits by which the executor and scans handle a failure: `isLost` for a lost connection; `isTransient`;
 * `isDenied` for a denied or unknown command; `interruptsScan` for one after which a scan may start over, and
 * `isReplaced` if it may at once; `details`, the server's message.
 *
 * @typedef {{ isLost?: boolean, isTransient?: boolean, isDenied?: boolean, interruptsScan?: boolean,
 *   isReplaced?: boolean, details?: string }} Traits
 */

/** The error of a command or an event, without the name of an operation. core/src/error.rs has the same messages. */
class Failure {
  /**
   * @param {ErrorCode} code
   * @param {string} message
   * @param {Omit<ErrorDetails, 'code' | 'cause'> & { cause?: Cause }} details
   * @param {Traits} traits
   */
  constructor(code, message, details = {}, traits = {}) {
    this.message = message;
    const { address, port } = /** @type {Partial<CauseDetails>} */ (details.cause ?? {});
    this.details = { code, address, port, ...details };
    this.traits = traits;
  }

  get reply() {
    return this.details.reply;
  }

  /** Returns the text of a completion, in the addon's form. @param {string} operation */
  textFor(operation) {
    return JSON.stringify({ message: `${operation} failed: ${this.message}`, operation, ...this.details });
  }

  toError() {
    return new RedisStoreError(this.message, this.details);
  }

  /** Returns the failure as the cause of another one. */
  toCause() {
    const { code, reply, address, port } = { reply: undefined, ...this.details, ...this.details.cause };
    return new Cause(this.message, { code, reply, address, port });
  }
}

const UNAVAILABLE = 'ERR_REDIS_UNAVAILABLE';

const attemptsOf = (/** @type {number} */ count) => `${count} attempt${count === 1 ? '' : 's'}`;

/** @satisfies {Record<string, (...values: any[]) => Failure>} */
const failures = {
  unavailable: (server, waited, attempts, cause) =>
    new Failure(
      UNAVAILABLE,
      `no connection within ${waited} ms (${server}; ${attemptsOf(attempts)}; last error: ${cause})`,
      { attempts, cause },
    ),
  timeout: (server, waited) => new Failure('ERR_REDIS_TIMEOUT', `no reply within ${waited} ms (${server})`),
  queueFull: (server, most, attempts, cause) =>
    new Failure(
      'ERR_REDIS_QUEUE_FULL',
      `no connection, and ${most} operations ("maxQueue") wait for one ` +
        `(${server}; ${attemptsOf(attempts)}; last error: ${cause})`,
      { attempts, cause },
    ),
  linkReplaced: (server) =>
    new Failure(
      UNAVAILABLE,
      `the connection was replaced (${server})`,
      {},
      { interruptsScan: true, isReplaced: true },
    ),
  scanInterrupted: (server, restarts, cause) =>
    new Failure(
      UNAVAILABLE,
      `the scan was interrupted before all keys were read (${server}; ${restarts} restarts; last error: ${cause})`,
      { cause },
    ),
  unreachable: (server, cause) =>
    new Failure(
      UNAVAILABLE,
      `no connection (${server}; last error: ${cause})`,
      { cause },
      { interruptsScan: true },
    ),
  unexpectedReply: (server, value) =>
    new Failure(
      'ERR_REDIS_REPLY',
      `the reply is ${typeOfReply(value)}, which does not fit the command (${server})`,
    ),
  client: (server, cause, isLost) =>
    new Failure(UNAVAILABLE, `the client failed (${server}; last error: ${cause})`, { cause }, { isLost }),
  internal: ({ name }) =>
    new Failure('ERR_INTERNAL', `the operation was abandoned because of a ${name}; please report this`),
  closed: () => new Failure('ERR_STORE_CLOSED', 'the store is closed'),
};

/** Returns the type of a reply. Its value may be a session, which an error must not contain. @param {unknown} value */
function typeOfReply(value) {
  if (value === null) return 'nil';
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'number') return 'an integer';
  return typeof value === 'string' ? 'a bulk string' : 'a RESP3 value';
}

const TRANSIENT = /^(LOADING|BUSY|TRYAGAIN|CLUSTERDOWN|MASTERDOWN|READONLY)$/;
/** The messages of a proxy that has lost its server, and of a server with too many clients. */
const TRANSIENT_MESSAGE =
  /^(max number of clients|(Connection (refused|reset by peer|timed out)|Broken pipe|Host is down|No route to host|Network is unreachable)$)/;
const DENIED_MESSAGE = /unknown command|nsupported command|command.*(not support|not allowed|disabled)/;
/** The error that ended a script, which servers before 7.0 quote. */
const IN_SCRIPT = /^Error running script.*@user_script[: \d]*-?([A-Z]{2,}) (.*)$/s;

/** Returns what the error reply says about a likely mistake. @type {(reply: string, isCluster: boolean) => string} */
function hint(reply, isCluster) {
  if (reply === 'NOAUTH') return " (set the password in the client's options)";
  return /^(MOVED|ASK|CROSSSLOT)$/.test(reply) && !isCluster
    ? ' (the server belongs to a cluster: use a cluster client or the "cluster" option)'
    : '';
}

/**
 * Creates the failure for the server's error reply to a command: a word in capitals, and a message.
 *
 * @type {(server: string, text: string, words: Words, isCluster: boolean) => Failure}
 */
function replyFailure(server, text, words, isCluster) {
  const [, word = '', details = ''] = /^(\S+) ?(.*)$/s.exec(text) ?? [];
  const [, reply = '', message = ''] = IN_SCRIPT.exec(details) ?? ['', word, details || 'no details'];
  const isTransient = TRANSIENT.test(reply) || TRANSIENT_MESSAGE.test(message);
  const isDenied =
    (reply === 'NOPERM' && message.includes('command')) || (reply === 'ERR' && DENIED_MESSAGE.test(message));
  const shown = withoutArguments(message, words) + hint(reply, isCluster);
  return new Failure(
    'ERR_REDIS_REPLY',
    `the server replied ${reply}: ${shown} (${server})`,
    { reply, retryable: isTransient },
    { isTransient, isDenied, interruptsScan: isTransient, details: message },
  );
}

const LONGEST_MESSAGE = 200;
/** Arguments of at least this length may be secrets. Servers shorten long ones, so that their beginning identifies them. */
const SHORTEST_SECRET = 8;

/**
 * Replaces an error message that quotes the arguments of its command, and limits its length.
 *
 * @type {(message: string, words: Words) => string}
 */
function withoutArguments(message, [, ...args]) {
  const end = message.search(/,? with arg|,? args:|,? args beginning/);
  const shown = end === -1 ? message : message.slice(0, end);
  const isQuoted = (/** @type {string} */ word) =>
    word.length >= SHORTEST_SECRET && shown.includes(word.slice(0, SHORTEST_SECRET));
  if (args.map(String).some((word) => isQuoted(word) || isQuoted(word.slice(word.lastIndexOf(':') + 1))))
    return 'its message quotes the command';
  return redact(shown).slice(0, LONGEST_MESSAGE);
}

/**
 * Returns message, details and kind of a client's error. The message of one that the server replied with begins with a
 * word in capitals, as does that of a system error, or the code of an error without a message. A retry would not fix a
 * permanent one.
 *
 * @param {any} error
 */
function readError(error) {
  try {
    const message = messageOf(error);
    const isReply = Boolean(error?.message) && error.syscall === undefined && REPLY.test(message);
    const isPermanent = [TypeError, RangeError, ReferenceError].some((Class) => error instanceof Class);
    return { message, details: detailsOf(error), isReply, isPermanent };
  } catch {
    return { message: 'its error cannot be read', details: {}, isReply: false, isPermanent: true };
  }
}

/** Creates the cause of a client's error. @param {unknown} error @param {Words} [words] the command, if it is that of one */
function causeOf(error, words) {
  const { message, details } = readError(error);
  return new Cause(words === undefined ? redact(message) : withoutArguments(message, words), details);
}

/** Returns what is known of a system error. @param {any} error */
function detailsOf(error) {
  // One of several addresses that were tried.
  const one = error?.errors?.[0] ?? error;
  /** @type {Omit<CauseDetails, 'message'>} */
  const details = {};
  const code = error?.code ?? one?.code;
  const address = one?.address ?? one?.hostname;
  if (typeof code === 'string' && CODE.test(code)) details.code = code;
  if (typeof one?.syscall === 'string') details.syscall = one.syscall;
  if (details.syscall !== undefined && typeof address === 'string') details.address = address;
  if (details.address !== undefined && typeof one.port === 'number') details.port = one.port;
  return details;
}

const CODE = /^[A-Z][A-Z0-9_]+$/;
const REPLY = /^[A-Z][A-Z0-9_]+( |$)/;

/** @param {any} error */
function messageOf(error) {
  const text = error instanceof Error || typeof error?.message === 'string' ? error.message : '';
  // One of the errors of redis 6 has no message.
  const message = text || error?.code || error?.name || 'no reason is known';
  return restoreServerError(error, String(message))
    .replace(/\s+/g, ' ')
    .replace(/\/\/[^@/\s]*@/g, '//');
}

/** The server's error codes by valkey-glide's names for them. @type {Record<string, string>} */
const GLIDE_WORDS = {
  ResponseError: 'ERR',
  NoScriptError: 'NOSCRIPT',
  BusyLoadingError: 'LOADING',
  TryAgain: 'TRYAGAIN',
  ClusterDown: 'CLUSTERDOWN',
  MasterDown: 'MASTERDOWN',
  ReadOnly: 'READONLY',
};

/** Restores a server's error message that valkey-glide has rewritten. @param {any} error @param {string} message */
function restoreServerError(error, message) {
  if (error?.constructor?.name !== 'RequestError') return message;
  return message
    .replace(
      /^An error was signalled by the server: - (\w+): /,
      (_all, word) => `${GLIDE_WORDS[word] ?? 'ERR'} `,
    )
    .replace(/^([A-Z]+): /, '$1 ');
}

module.exports = { Cause, Failure, causeOf, failures, readError, replyFailure };
