'use strict';

// Loads the addon's binary, or throws an error that says what to do.

const path = require('node:path');
const { RedisStoreError } = require('../common/store-error.js');
const { platformNames, requireBinary } = require('./platforms.js');

const ROOT = path.join(__dirname, '..', '..');

/**
 * Loads the addon.
 *
 * @returns {typeof import('../binding.js')}
 */
function load() {
  const names = platformNames();
  let failure;
  for (const name of names) {
    for (const isBuilt of [true, false]) {
      try {
        const binding = requireBinary(name, isBuilt);
        if (typeof binding?.Completions === 'function') return binding;
        // esbuild's loader "file" replaces it with a file path.
        if (binding !== undefined) throw new Error('a bundler has put something else in its place');
      } catch (error) {
        failure ??= error;
      }
    }
  }
  throw failure === undefined ? missing(names[0]) : unloadable(names[0], failure);
}

/**
 * Creates the error for a package without a binary: a message that says what to do, and where the app loads it.
 *
 * @param {string} name
 */
function missing(name) {
  /** @type {Record<string, any>} */
  const { optionalDependencies = {} } = require('../../package.json');
  const optional = `@connect-redis-native/binding-${name}`;
  const run = process.versions.pnp === undefined ? 'npx' : 'yarn';
  const lines = [`connect-redis-native has no binary for ${name}.`];
  if (optional in optionalDependencies)
    lines.push(`Its package ${optional} is an optional dependency, which this installation left out.`);
  lines.push('To build it from source, with Rust and a C compiler, run this in the folder of the app:');
  lines.push(`    ${run} connect-redis-native build`);
  return withCallerOnly(() => new RedisStoreError(lines.join('\n'), { code: 'ERR_DLOPEN_FAILED' }));
}

/**
 * Returns the error with a stack of one frame: where the app loads this package.
 *
 * @param {() => Error} createError
 */
function withCallerOnly(createError) {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 50;
  const error = createError();
  Error.stackTraceLimit = stackTraceLimit;
  const frames = String(error.stack)
    .split('\n')
    .filter((line) => /^ +at /.test(line));
  const caller = frames.find((frame) => !frame.includes(ROOT + path.sep) && !/node:|native:/.test(frame));
  error.stack = [String(error), caller].filter(Boolean).join('\n');
  return error;
}

/**
 * @param {string} name
 * @param {any} cause
 */
function unloadable(name, cause) {
  const message = `connect-redis-native cannot load its binary for ${name}: ${cause.message}${hint(cause.message)}`;
  return new RedisStoreError(message, { code: 'ERR_DLOPEN_FAILED', cause });
}

/** @param {string} message */
function hint(message) {
  if (/bundler/.test(message))
    return '. Leave the package out of the bundle, such as by esbuild --external:connect-redis-native (docs/recipes.md)';
  return /addons is disabled/.test(message)
    ? ' It needs Node without --no-addons, and with --allow-addons in addition to --permission.'
    : '';
}

module.exports = { load };
