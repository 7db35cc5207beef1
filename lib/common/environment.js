'use strict';

/** A decimal number as people write one. */
const NUMBER = /^-?\d+(\.\d+)?$/;

/**
 * The value of a numeric or boolean option that may be a string from the environment: `'3600'` is a number, `'true'` and
 * `'false'` are booleans, and an empty string is a variable without a value. Any other value is returned as it is.
 */
function fromEnvironment(value) {
  if (typeof value !== 'string') return value;
  if (value === '') return undefined;
  if (value === 'true' || value === 'false') return value === 'true';
  return NUMBER.test(value) ? Number(value) : value;
}

module.exports = { fromEnvironment };
