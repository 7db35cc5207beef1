'use strict';

const { Operation } = require('../../boundary/outbox.js');
const { Kind } = require('../../boundary/request.js');
const { elapsed } = require('../../common/timers.js');
const { NEVER } = require('../../session/expiry.js');
const { Command, isInteger, readCommands } = require('./commands.js');
const { Failure, failures } = require('./errors.js');

/** @import { AsyncResource } from 'node:async_hooks' */
/** @import { Completion, Executor, Failure as Failed, Script, Text, Words } from '../../types.d.ts' */

/**
 * Compare-and-set for servers without `SET … IFEQ`: the script of core/src/session/compare_and_set.rs, which explains
 * it, and the name under which a server caches it.
 */
const SCRIPT = `local stored = redis.call('GET', KEYS[1])
if stored ~= (ARGV[3] or false) then return stored end
if ARGV[2] == '0' then redis.call('SET', KEYS[1], ARGV[1])
else redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return {}`;
const SCRIPT_SHA1 = '995f2c552b430d9883a34c6acc8877fa929bf6bd';
/** Compare-and-delete, in the same way. */
const DELETE_SCRIPT = `local stored = redis.call('GET', KEYS[1])
if stored ~= ARGV[1] then return stored end
redis.call('DEL', KEYS[1])
return {}`;
const DELETE_SCRIPT_SHA1 = '9d3d42d265e4b0262afe6309c18e290ac73d434e';

const UNKNOWN_SYNTAX = /syntax|argument|unknown|unsupported|not support/i;
/** Stands in a decoded text for bytes that are not UTF-8. */
const REPLACEMENT = '\uFFFD';

/**
 * An operation on one key. `complete` receives its completion.
 *
 * @typedef {{ scope: AsyncResource, key: string, value: Text, ttl: number, base?: Text, since?: number }} KeyOperation
 * @typedef {(...completion: Completion) => void} Complete
 * @typedef {(executor: Executor, name: string, reply: unknown, complete: Complete) => void} Fail
 */

const lifetimeWords = (/** @type {number} */ ttl) => (ttl > 0 ? ['PX', String(ttl)] : []);

/** The operations of the commands that write, in error messages. @type {Record<string, string>} */
const NAMES = { SET: 'set', PEXPIRE: 'touch', DEL: 'destroy' };

/** @type {(operation: number, write: KeyOperation) => Words} */
function writeWords(operation, { key, value, ttl }) {
  if (operation === Operation.TOUCH) return ['PEXPIRE', key, String(ttl)];
  if (operation === Operation.DESTROY) return ['DEL', key];
  const condition = operation === Operation.SET_EXISTING ? ['XX'] : [];
  return ['SET', key, value, ...condition, ...lifetimeWords(ttl)];
}

/**
 * Runs a write that has one command.
 *
 * @type {(executor: Executor, operation: number, write: KeyOperation, complete: Complete) => void}
 */
function write(executor, operation, job, complete) {
  const words = writeWords(operation, job);
  const name = NAMES[words[0]];
  const done = (/** @type {any[]} */ [reply]) => {
    // `PEXPIRE` and `DEL` return the number of keys that existed.
    const isCount = name !== 'set' && isInteger(reply);
    if (isCount ? Number(reply) === 0 : reply === null && operation === Operation.SET_EXISTING)
      complete(Kind.MISSING, '');
    else if (isCount || (reply === 'OK' && name === 'set')) complete(Kind.DONE, '');
    else fail(executor, name, reply, complete);
  };
  executor.submit({ scope: job.scope, commands: [new Command(words)], done }, job.since);
}

/** Completes an operation whose reply is a Failure, or does not fit the command. @type {Fail} */
function fail({ server }, name, reply, complete) {
  const failure = reply instanceof Failure ? reply : failures.unexpectedReply(server, reply);
  complete(Kind.FAILED, failure.textFor(name));
}

/**
 * Reads a session, with the expiry of its key.
 *
 * @type {(executor: Executor, read: KeyOperation, complete: Complete) => void}
 */
function read(executor, { scope, key, since }, complete) {
  const done = (/** @type {any[]} */ [text, left]) => {
    if (text === null) complete(Kind.MISSING, '');
    else if (typeof text === 'string') complete(Kind.SESSION, text, expiryOf(left));
    else fail(executor, 'get', text, complete);
  };
  executor.submit({ scope, commands: readCommands(key), done }, since);
}

/** Returns when a key ends, in ms since 1970, by the reply to its `PTTL`; 0 if that is unknown. @param {any} left */
function expiryOf(left) {
  const ms = isInteger(left) ? Number(left) : -2;
  if (ms === -1) return NEVER;
  return ms >= 0 ? Math.min(Date.now() + ms, NEVER) : 0;
}

/**
 * A way to compare and set.
 *
 * @typedef {{ words: (operation: KeyOperation) => Words, keyAt: number,
 *   isStored: (reply: unknown, base?: Text) => boolean, isUnsupported: (failure: Failed) => boolean }} Method
 */

/** @type {(name: string, script: string, isUnsupported: Method['isUnsupported']) => Method} */
const scriptMethod = (name, script, isUnsupported) => ({
  words: ({ key, value, ttl, base }) => {
    const args = [script, '1', key, value, String(ttl)];
    return [name, ...args, ...(base === undefined ? [] : [base])];
  },
  keyAt: 3,
  isStored: Array.isArray,
  isUnsupported,
});

/** @param {Failed} failure */
const isUncached = ({ reply, traits }) => reply === 'NOSCRIPT' || !!traits.isDenied;

/** The ways to compare and set, each tried if the server does not support the one before. @type {Method[]} */
const casMethods = [
  {
    words: ({ key, value, ttl, base }) => {
      const condition = base === undefined ? ['NX'] : ['IFEQ', base];
      return ['SET', key, value, ...condition, 'GET', ...lifetimeWords(ttl)];
    },
    keyAt: 1,
    // `GET` returns the stored text, whether the command stores or not.
    isStored: (reply, base) => reply === (base === undefined ? null : String(base)),
    isUnsupported: ({ reply, traits }) => reply === 'ERR' && UNKNOWN_SYNTAX.test(traits.details ?? ''),
  },
  scriptMethod('EVALSHA', SCRIPT_SHA1, isUncached),
  scriptMethod('EVAL', SCRIPT, () => false),
];
const SET_COMMAND = 0;
const CACHED_SCRIPT = 1;

/**
 * Stores a value if the stored text equals `base`; without a base, if nothing is stored.
 *
 * @type {(executor: Executor, operation: KeyOperation, complete: Complete) => void}
 */
function compareAndSet(executor, job, complete) {
  const { scope, base, since = elapsed() } = job;
  const attempt = (/** @type {number} */ index) => {
    const { words, keyAt, isStored, isUnsupported } = casMethods[index];
    const done = (/** @type {any[]} */ [reply]) => {
      if (reply instanceof Failure && isUnsupported(reply)) {
        if (index === SET_COMMAND) executor.needsScript = true;
        attempt(index + 1);
      } else if (isStored(reply, base)) complete(Kind.DONE, '');
      else if (typeof reply === 'string') complete(Kind.CONFLICT, reply);
      else if (reply === null && base !== undefined) complete(Kind.MISSING, '');
      else fail(executor, 'set', reply, complete);
    };
    executor.submit({ scope, commands: [new Command(words(job), { keyAt })], done }, since);
  };
  // The text of another reply may look like the base; that of the script's does not.
  const isAmbiguous = base !== undefined && String(base).includes(REPLACEMENT);
  attempt(executor.needsScript || isAmbiguous ? CACHED_SCRIPT : SET_COMMAND);
}

/**
 * Runs a script on one key: by its name, or in full if the server does not have it. `done` receives the reply.
 *
 * @type {(executor: Executor, scope: AsyncResource, script: Script, key: string, args: Text[],
 *   done: (reply: unknown) => void, since?: number) => void}
 */
function callScript(executor, scope, { sha1, text }, key, args, done, since = elapsed()) {
  const call = (
    /** @type {string} */ name,
    /** @type {string} */ script,
    /** @type {(reply: any) => void} */ next,
  ) =>
    executor.submit(
      {
        scope,
        commands: [new Command([name, script, '1', key, ...args], { keyAt: 3 })],
        done: ([reply]) => next(reply),
      },
      since,
    );
  call('EVALSHA', sha1, (reply) => {
    if (reply instanceof Failure && isUncached(reply)) call('EVAL', text, done);
    else done(reply);
  });
}

/**
 * Deletes a key if the stored text equals `base`.
 *
 * @type {(executor: Executor, operation: KeyOperation, complete: Complete) => void}
 */
function compareAndDelete(executor, { scope, key, base = '', since }, complete) {
  const script = { sha1: DELETE_SCRIPT_SHA1, text: DELETE_SCRIPT };
  const done = (/** @type {unknown} */ reply) => {
    if (Array.isArray(reply)) complete(Kind.DONE, '');
    else if (typeof reply === 'string') complete(Kind.CONFLICT, reply);
    else if (reply === null) complete(Kind.MISSING, '');
    else fail(executor, 'destroy', reply, complete);
  };
  callScript(executor, scope, script, key, [base], done, since);
}

module.exports = {
  SCRIPT,
  SCRIPT_SHA1,
  callScript,
  compareAndDelete,
  compareAndSet,
  expiryOf,
  fail,
  read,
  write,
};
