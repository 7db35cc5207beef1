'use strict';

// Finds and loads the addon's binary: one that was built in this package, or else the platform's package.

const fs = require('node:fs');
const path = require('node:path');
const { coded } = require('../common/errors.js');

const ROOT = path.join(__dirname, '..', '..');

/** Returns the names of the binaries that may run here, such as `linux-x64-gnu`, the likeliest first. */
function platformNames() {
  const machine = `${process.platform}-${process.arch}`;
  if (process.platform === 'win32') return [`${machine}-msvc`];
  if (process.platform !== 'linux') return [machine];
  const names = [`${machine}-gnu`, `${machine}-musl`];
  return usesMusl() ? names.reverse() : names;
}

function usesMusl() {
  try {
    return fs.readFileSync('/usr/bin/ldd', 'latin1').includes('musl');
  } catch {
    return false;
  }
}

/** Returns the file of the binary that is built in this package. */
function builtFile() {
  return path.join(ROOT, 'lib', `connect-redis-native.${platformNames()[0]}.node`);
}

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
 * Requires the binary of a platform, that built in this package or that of the platform's package, and returns undefined
 * where it is missing. Bundlers find the files by literal paths, and do not report those missing that are within `try`.
 */
function requireBinary(name, isBuilt) {
  try {
    switch (name) {
      case 'linux-x64-gnu':
        return isBuilt
          ? require('../connect-redis-native.linux-x64-gnu.node')
          : require('@connect-redis-native/binding-linux-x64-gnu');
      case 'linux-x64-musl':
        return isBuilt
          ? require('../connect-redis-native.linux-x64-musl.node')
          : require('@connect-redis-native/binding-linux-x64-musl');
      case 'linux-arm64-gnu':
        return isBuilt
          ? require('../connect-redis-native.linux-arm64-gnu.node')
          : require('@connect-redis-native/binding-linux-arm64-gnu');
      case 'linux-arm64-musl':
        return isBuilt
          ? require('../connect-redis-native.linux-arm64-musl.node')
          : require('@connect-redis-native/binding-linux-arm64-musl');
      case 'darwin-x64':
        return isBuilt
          ? require('../connect-redis-native.darwin-x64.node')
          : require('@connect-redis-native/binding-darwin-x64');
      case 'darwin-arm64':
        return isBuilt
          ? require('../connect-redis-native.darwin-arm64.node')
          : require('@connect-redis-native/binding-darwin-arm64');
      case 'win32-x64-msvc':
        return isBuilt
          ? require('../connect-redis-native.win32-x64-msvc.node')
          : require('@connect-redis-native/binding-win32-x64-msvc');
      default:
        return isBuilt ? require(builtFile()) : undefined;
    }
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}

function isMissing({ code, message }) {
  // Bundlers' own functions throw errors without a code.
  return (
    /MODULE_NOT_FOUND$/.test(code) || /^(Cannot find module|Module not found|Could not dyn)/.test(message)
  );
}

/** Creates the error for a package without a binary: a message that says what to do, and where the app loads it. */
function missing(name) {
  const { optionalDependencies = {} } = require('../../package.json');
  const optional = `@connect-redis-native/binding-${name}`;
  const run = process.versions.pnp === undefined ? 'npx' : 'yarn';
  const lines = [`connect-redis-native has no binary for ${name}.`];
  if (optional in optionalDependencies)
    lines.push(`Its package ${optional} is an optional dependency, which this installation left out.`);
  lines.push('To build it from source, with Rust and a C compiler, run this in the folder of the app:');
  lines.push(`    ${run} connect-redis-native build`);
  return withCallerOnly(() => coded(Error, 'ERR_DLOPEN_FAILED', lines.join('\n')));
}

/** Returns the error with a stack of one frame: where the app loads this package. */
function withCallerOnly(createError) {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 50;
  const error = createError();
  Error.stackTraceLimit = stackTraceLimit;
  const frames = error.stack.split('\n').filter((line) => /^ +at /.test(line));
  const caller = frames.find((frame) => !frame.includes(ROOT + path.sep) && !/node:|native:/.test(frame));
  error.stack = [`Error: ${error.message}`, caller].filter(Boolean).join('\n');
  return error;
}

function unloadable(name, cause) {
  const message = `connect-redis-native cannot load its binary for ${name}: ${cause.message}${hint(cause.message)}`;
  return Object.assign(coded(Error, 'ERR_DLOPEN_FAILED', message), { cause });
}

function hint(message) {
  if (/bundler/.test(message))
    return '. Leave the package out of the bundle, such as by esbuild --external:connect-redis-native (docs/guide.md)';
  return /addons is disabled/.test(message)
    ? ' It needs Node without --no-addons, and with --allow-addons in addition to --permission.'
    : '';
}

module.exports = { builtFile, load, usesMusl };
