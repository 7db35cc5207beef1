'use strict';

/** A decimal number without an exponent. */
const NUMBER = /^-?\d+(\.\d+)?$/;

/**
 * Converts a numeric or boolean option that may come from an environment variable: `'3600'` to a number, `'true'` and
 * `'false'` to booleans, an empty string to undefined. Returns any other value unchanged.
 *
 * @type {(value: unknown) => unknown}
 */
function fromEnvironment(value) {
  if (typeof value !== 'string') return value;
  if (value === '') return undefined;
  if (value === 'true' || value === 'false') return value === 'true';
  return NUMBER.test(value) ? Number(value) : value;
}

module.exports = { fromEnvironment };
