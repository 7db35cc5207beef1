'use strict';

const { jsonErrorPosition } = require('../boundary/native.js');
const { coded } = require('../common/errors.js');

/**
 * A text that JSON.parse refused. V8's own message quotes the text, which is a session: this error
 * says where instead, and has no cause.
 */
function corrupt(operation, prefix, text) {
  const position = jsonErrorPosition(text) ?? undefined;
  const error = coded(
    Error,
    'ERR_SESSION_CORRUPT',
    `${operation}: a session under the prefix ${JSON.stringify(prefix)} is not valid JSON` +
      (position === undefined ? '' : ` (at position ${position} of ${text.length})`),
  );
  if (position !== undefined) error.position = position;
  return error;
}

/** What was stored, or what an app's `parse` made of it, is no object. */
function noSession(operation, prefix) {
  return coded(
    Error,
    'ERR_SESSION_CORRUPT',
    `${operation}: a session under the prefix ${JSON.stringify(prefix)} is no object`,
  );
}

/** The stored text does not fit into a JavaScript string. */
function tooLong(operation, prefix) {
  return coded(
    Error,
    'ERR_SESSION_CORRUPT',
    `${operation}: a session under the prefix ${JSON.stringify(prefix)} is longer than a JavaScript string`,
  );
}

module.exports = { corrupt, noSession, tooLong };
