'use strict';

const { jsonErrorPosition } = require('../boundary/native.js');
const { coded } = require('../common/errors.js');

/** @import { RedisStoreError } from '../../index.js' */

/**
 * Creates the error for a text that JSON.parse rejects. V8's own message quotes the text, which is a session: this one
 * has the position instead, and no cause.
 *
 * @type {(operation: string, prefix: string, text: string) => RedisStoreError}
 */
function corrupt(operation, prefix, text) {
  const position = jsonErrorPosition(text) ?? undefined;
  const error = coded(
    Error,
    'ERR_SESSION_CORRUPT',
    `${operation} failed: a session under the prefix ${JSON.stringify(prefix)} is not valid JSON` +
      (position === undefined ? '' : ` (at position ${position} of ${text.length})`),
  );
  if (position !== undefined) error.position = position;
  return error;
}

/**
 * Creates the error for a stored value, or a result of an app's `parse`, that is not an object.
 *
 * @param {string} operation
 * @param {string} prefix
 */
function noSession(operation, prefix) {
  return coded(
    Error,
    'ERR_SESSION_CORRUPT',
    `${operation} failed: a session under the prefix ${JSON.stringify(prefix)} is no object`,
  );
}

/**
 * Creates the error for a stored text that does not fit into a JavaScript string.
 *
 * @param {string} operation
 * @param {string} prefix
 */
function tooLong(operation, prefix) {
  return coded(
    Error,
    'ERR_SESSION_CORRUPT',
    `${operation} failed: a session under the prefix ${JSON.stringify(prefix)} is longer than a JavaScript string`,
  );
}

module.exports = { corrupt, noSession, tooLong };
