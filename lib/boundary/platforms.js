// @ts-nocheck: most of the modules are missing on any machine.
'use strict';

// The platforms that have binaries, and where these are: built in this package, or else in the platform's package.

const fs = require('node:fs');
const path = require('node:path');

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
  return path.join(__dirname, '..', `connect-redis-native.${platformNames()[0]}.node`);
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

module.exports = { builtFile, platformNames, requireBinary, usesMusl };
