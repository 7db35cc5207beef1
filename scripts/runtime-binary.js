'use strict';

// Finds the binary of a JavaScript runtime other than Node, and fetches it if it is missing.

const { npmBinary } = require('./npm-binary.js');

const versions = { bun: '1.4', deno: '2.9' };

/** The npm packages with the binaries, by `process.platform` and `process.arch`. */
const packages = {
  bun: {
    'linux-x64': ['@oven/bun-linux-x64', 'bin/bun'],
    'linux-arm64': ['@oven/bun-linux-aarch64', 'bin/bun'],
    'darwin-arm64': ['@oven/bun-darwin-aarch64', 'bin/bun'],
  },
  deno: {
    'linux-x64': ['@deno/linux-x64-glibc', 'deno'],
    'linux-arm64': ['@deno/linux-arm64-glibc', 'deno'],
    'darwin-arm64': ['@deno/darwin-arm64', 'deno'],
  },
};

/** @returns the path, or null where npm has no binary for this platform */
function runtimeBinary(name) {
  const [packageName, file] = packages[name][`${process.platform}-${process.arch}`] ?? [];
  return packageName === undefined ? null : npmBinary(packageName, versions[name], file);
}

module.exports = { runtimeBinary };
