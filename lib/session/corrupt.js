'use strict';

const { jsonErrorPosition } = require('../boundary/native.js');
const { RedisStoreError } = require('../common/store-error.js');

/** @param {string} operation @param {string} prefix @param {string} what @param {number} [position] */
function unreadable(operation, prefix, what, position) {
  return new RedisStoreError(
    `${operation} failed: a session under the prefix ${JSON.stringify(prefix)} is ${what}`,
    { code: 'ERR_SESSION_CORRUPT', operation, position },
  );
}

/**
 * Creates the error for a text that JSON.parse rejects. V8's own message quotes the text, which is a session: this one
 * has the position instead, and no cause.
 *
 * @param {string} operation
 * @param {string} prefix
 * @param {string} text
 */
function corrupt(operation, prefix, text) {
  const position = jsonErrorPosition(text) ?? undefined;
  const place = position === undefined ? '' : ` (at position ${position} of ${text.length})`;
  return unreadable(operation, prefix, `not valid JSON${place}`, position);
}

/**
 * Creates the error for a stored value, or a result of an app's `parse`, that is not an object.
 *
 * @param {string} operation
 * @param {string} prefix
 */
function noSession(operation, prefix) {
  return unreadable(operation, prefix, 'no object');
}

/**
 * Creates the error for a stored text that does not fit into a JavaScript string.
 *
 * @param {string} operation
 * @param {string} prefix
 */
function tooLong(operation, prefix) {
  return unreadable(operation, prefix, 'longer than a JavaScript string');
}

module.exports = { corrupt, noSession, tooLong };
