'use strict';

const { coded } = require('../common/errors.js');

const platform = `${process.platform}-${process.arch}`;

/** Loads the addon: the binary of this platform's package, or one built in place. */
function load() {
  try {
    const binding = require('../binding.js');
    if (typeof binding.Completions === 'function') return binding;
    // esbuild's loader "file" replaces it with a file path.
    throw new Error('a bundler has put something else in its place');
  } catch (cause) {
    const error = coded(Error, 'ERR_DLOPEN_FAILED', whyNot(/** @type {Error} */ (cause)));
    error.cause = cause;
    throw error;
  }
}

/**
 * Returns the message for an addon that cannot be loaded.
 *
 * @param {any} error the generated loader's, with the failures of all its attempts in the chain of its causes
 */
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

/** @param {string} message */
function hint(message) {
  if (/bundler/.test(message))
    return '. Leave the package out of the bundle, such as by esbuild --external:connect-redis-native (docs/guide.md)';
  return /addons is disabled/.test(message)
    ? ' It needs Node without --no-addons, and with --allow-addons beside --permission.'
    : '';
}

const binding = load();

/** Exported, so that it lives as long as this module. */
const environment = new binding.Environment();
const tornDown = environment.tornDown();

/** Returns true once the finalizers of native objects have run. Deno runs JavaScript after that; Node does not. */
const isTornDown = () => tornDown[0] === 1;

/**
 * Returns a subclass of a native class whose methods and getters do nothing once the native objects are freed. A
 * subclass, because Jest shares the addon's classes between the test files that it runs.
 *
 * @template {new (...args: any[]) => object} Class
 * @param {Class} Native
 */
function guard(Native) {
  class Guarded extends Native {
    /** @param {any[]} args */
    constructor(...args) {
      if (isTornDown())
        throw coded(Error, 'ERR_STORE_CLOSED', 'The JavaScript environment is shutting down.');
      super(...args);
    }
  }
  for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(Native.prototype))) {
    if (name === 'constructor') continue;
    const { get, value } = property;
    Object.defineProperty(
      Guarded.prototype,
      name,
      get ? { ...property, get: guardFunction(get) } : { ...property, value: guardFunction(value) },
    );
  }
  return Guarded;
}

/** @param {Function} native */
function guardFunction(native) {
  return /** @this {object} @param {unknown[]} args */ function (...args) {
    return isTornDown() ? undefined : Reflect.apply(native, this, args);
  };
}

const Scan = guard(binding.Scan);

/**
 * Replaces the prototype of an object that a native method returned with that of its guarded class.
 *
 * @type {<Native>(native: Native, Class: new (...args: any[]) => object) => Native}
 */
const guarded = (native, Class) => native && Object.setPrototypeOf(native, Class.prototype);

class RedisStore extends guard(binding.RedisStore) {
  /** @param {Parameters<InstanceType<typeof binding.RedisStore>['openScan']>} args */
  openScan(...args) {
    return guarded(super.openScan(...args), Scan);
  }

  /** @param {Float64Array} ends @returns {(id: string) => string | null} */
  lookup(ends) {
    const native = super.lookup(ends);
    return (id) => (isTornDown() ? null : native(id));
  }
}

module.exports = {
  ...binding,
  environment,
  isTornDown,
  Completions: guard(binding.Completions),
  RedisStore,
};
