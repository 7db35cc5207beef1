'use strict';

const { wrongType } = require('../common/errors.js');

/** @import { Serializer } from '../../index.js' */

/**
 * Returns the value to store for a session: a string, or bytes, which are stored as they are.
 *
 * @param {Serializer} serializer
 * @param {any} session
 */
function stringify(serializer, session) {
  const value = serializer.stringify(session);
  if (typeof value === 'string' || Buffer.isBuffer(value)) return value;
  // A Buffer over the same memory: typed arrays of other realms fail `instanceof` checks.
  if (ArrayBuffer.isView(value)) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  throw wrongType('What serializer.stringify returns', 'a string or a Buffer', value);
}

module.exports = { stringify };
