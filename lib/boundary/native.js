'use strict';

const { coded } = require('../common/errors.js');

const platform = `${process.platform}-${process.arch}`;

/**
 * Loads the addon: the binary of this platform's package, or one built in place.
 */
function load() {
  try {
    const binding = require('../binding.js');
    if (typeof binding.Completions === 'function') return binding;
    // esbuild's loader "file" makes the path of a file of it.
    throw new Error('a bundler has put something else in its place');
  } catch (cause) {
    const error = coded(Error, 'ERR_DLOPEN_FAILED', whyNot(cause));
    error.cause = cause;
    throw error;
  }
}

/** @param error of the generated loader, with the failures of all its attempts in the chain of its causes */
function whyNot(error) {
  for (let cause = error.cause ?? error; cause; cause = cause.cause)
    if (!/^(Cannot find module|Unsupported) /.test(cause.message))
      return `connect-redis-native cannot load its binary for ${platform}: ${cause.message}${hint(cause.message)}`;
  return (
    `connect-redis-native has no binary for ${platform} here. ` +
    'If npm left out optional dependencies, install again without --omit=optional. ' +
    'To build it, with a Rust toolchain (https://rustup.rs): ' +
    'cd node_modules/connect-redis-native && npx -y -p @napi-rs/cli@3 napi build --platform --release --output-dir lib --js binding.js'
  );
}

function hint(message) {
  if (/bundler/.test(message))
    return '. Leave the package out of the bundle, such as by esbuild --external:connect-redis-native (docs/guide.md)';
  return /addons is disabled/.test(message)
    ? ' It needs Node without --no-addons, and with --allow-addons beside --permission.'
    : '';
}

module.exports = load();
