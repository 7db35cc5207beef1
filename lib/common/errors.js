'use strict';

/** What options take one of. Any other string may be, or hold, a secret: a URL does, often enough. */
const WORD = /^[a-z-]{1,32}$/i;

/** A short description of a value that may be wrong, never one that may be a secret. */
function describe(value) {
  if (value === null || value === undefined) return String(value);
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (typeof value === 'object') {
    const name = value.constructor?.name;
    return name && name !== 'Object' ? `an instance of ${name}` : 'an object';
  }
  return `a ${typeof value}`;
}

/** An option as errors name it, such as `tls.ca`. */
function optionName(option) {
  return `The "${option}" option`;
}

function coded(ErrorClass, code, message) {
  return Object.assign(new ErrorClass(message), { code });
}

/** The wrong type for an option, an argument or what a function of the app returned. */
function wrongType(what, expected, value) {
  return coded(TypeError, 'ERR_INVALID_ARG_TYPE', `${what} must be ${expected}; received ${describe(value)}`);
}

/** The right type, but a value that cannot be used; without `value`, one whose presence is the mistake. */
function wrongValue(what, expected, value) {
  const isWord = typeof value === 'string' && WORD.test(value);
  const received = value === undefined ? '' : `; received ${isWord ? `'${value}'` : describe(value)}`;
  return coded(TypeError, 'ERR_INVALID_ARG_VALUE', `${what} must be ${expected}${received}`);
}

/** @param {number} value */
function outOfRange(what, expected, value) {
  return coded(RangeError, 'ERR_OUT_OF_RANGE', `${what} must be ${expected}; received ${describe(value)}`);
}

function storeClosed(operation) {
  return coded(Error, 'ERR_STORE_CLOSED', `${operation}: the store is closed`);
}

/** @param {string} client as errors name it */
function clientClosed(operation, client) {
  return coded(
    Error,
    'ERR_STORE_CLOSED',
    `${operation}: ${client} is closed, or has given up reconnecting; the store serves again when the client connects`,
  );
}

/** An operation's failure as the addon words it: code, the server's own word, message. */
function fromNative(text) {
  const [code, reply] = text.split('\n', 2);
  const error = coded(Error, code, text.slice(code.length + reply.length + 2));
  if (reply) error.reply = reply;
  return error;
}

module.exports = {
  describe,
  optionName,
  wrongType,
  wrongValue,
  outOfRange,
  storeClosed,
  clientClosed,
  fromNative,
  coded,
};
