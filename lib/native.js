'use strict';

/**
 * Loads the addon: the binary of this platform's package, or one built in place.
 */
function load() {
  try {
    return require('./binding.js');
  } catch (cause) {
    const platform = `${process.platform}-${process.arch}`;
    throw new Error(
      `connect-redis-native has no binary for ${platform} here. ` +
        'If npm left out optional dependencies, install again without --omit=optional. ' +
        'To build it, with a Rust toolchain (https://rustup.rs): ' +
        'cd node_modules/connect-redis-native && npx -y @napi-rs/cli@3 build --platform --release --output-dir lib --js binding.js',
      { cause },
    );
  }
}

module.exports = load();
