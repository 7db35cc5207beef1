'use strict';

/** @import { OptionError } from '../../index.js' */

/** A plain word, as most options take one. Any other string may be or contain a secret, as a URL often does. */
const WORD = /^[a-z-]{1,32}$/i;

/** Returns a short description of an invalid value, without any text that may be a secret. @param {unknown} value */
function describe(value) {
  if (value === null || value === undefined) return String(value);
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (typeof value === 'object') {
    const name = value.constructor?.name;
    return name && name !== 'Object' ? `an instance of ${name}` : 'an object';
  }
  return `a ${typeof value}`;
}

/** Returns the name of an option, such as `tls.ca`, as error messages show it. @param {string} option */
function optionName(option) {
  return `The "${option}" option`;
}

/** @type {(ErrorClass: TypeErrorConstructor | RangeErrorConstructor, code: OptionError['code'], message: string) => OptionError} */
function optionError(ErrorClass, code, message) {
  return Object.assign(new ErrorClass(message), { code });
}

/**
 * Creates the error for an option, an argument or a function's return value of the wrong type.
 *
 * @type {(what: string, expected: string, value: unknown) => OptionError}
 */
function wrongType(what, expected, value) {
  return optionError(
    TypeError,
    'ERR_INVALID_ARG_TYPE',
    `${what} must be ${expected}; received ${describe(value)}`,
  );
}

/**
 * Creates the error for an invalid value of the right type. Without `value`, the message shows none.
 *
 * @type {(what: string, expected: string, value?: unknown) => OptionError}
 */
function wrongValue(what, expected, value) {
  const isWord = typeof value === 'string' && WORD.test(value);
  const received = value === undefined ? '' : `; received ${isWord ? `'${value}'` : describe(value)}`;
  return invalid(`${what} must be ${expected}${received}`);
}

/**
 * Creates the error for a number that is out of range.
 *
 * @type {(what: string, expected: string, value: number) => OptionError}
 */
function outOfRange(what, expected, value) {
  return optionError(
    RangeError,
    'ERR_OUT_OF_RANGE',
    `${what} must be ${expected}; received ${describe(value)}`,
  );
}

/**
 * Creates the error for two options that exclude each other.
 *
 * @type {(option: string, other: string, reason: string) => OptionError}
 */
function cannotCombine(option, other, reason) {
  return invalid(`The "${option}" and "${other}" options cannot be combined: ${reason}`);
}

/**
 * Creates the error for an option of another library, or of another place, that cannot be applied.
 *
 * @type {(option: string, reason: string) => OptionError}
 */
function unsupported(option, reason) {
  return invalid(`${optionName(option)} is not supported: ${reason}`);
}

/**
 * Creates the error for an unknown option in place of which the app should use `meant`.
 *
 * @type {(option: string, meant: string) => OptionError}
 */
function unknownOption(option, meant) {
  return invalid(`${optionName(option)} is unknown: did you mean ${meant}?`);
}

/**
 * Creates the error for an unknown field of the object `option`.
 *
 * @type {(option: string, field: string, known: string[]) => OptionError}
 */
function unknownField(option, field, known) {
  // A text that is not a name may be an address with a password.
  const what = /^\w+$/.test(field)
    ? `${optionName(`${option}.${field}`)} is unknown`
    : `${optionName(option)} has an unknown field`;
  return invalid(`${what}: "${option}" has the fields ${known.join(', ')}`);
}

const invalid = (/** @type {string} */ message) => optionError(TypeError, 'ERR_INVALID_ARG_VALUE', message);

module.exports = {
  describe,
  optionName,
  wrongType,
  wrongValue,
  outOfRange,
  cannotCombine,
  unsupported,
  unknownField,
  unknownOption,
  optionError,
};
