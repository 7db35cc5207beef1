'use strict';

const crypto = require('node:crypto');

/** The default key: the same in all processes, so that their logs can be compared. */
const DEFAULT_KEY = 'connect-redis-native';
/** The characters of 128 bits in base64url. */
const LENGTH = 22;

/** Hashes a text in one call, which Node 20.12 and later have. @type {(text: string) => string} */
const hash =
  crypto.hash === undefined
    ? (text) => crypto.createHash('sha256').update(text).digest('base64url')
    : (text) => crypto.hash('sha256', text, 'base64url');

/**
 * Returns the name of a session in logs, traces and events. It identifies the session without giving access to it.
 * Whoever does not know the key cannot compute it from an id.
 *
 * @param {string} id
 */
function sessionHash(id, key = DEFAULT_KEY) {
  return hash(`${key}\0${id}`).slice(0, LENGTH);
}

module.exports = { sessionHash };
