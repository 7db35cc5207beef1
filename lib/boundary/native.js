'use strict';

const { RedisStoreError } = require('../common/store-error.js');
const { load } = require('./binary.js');

const binding = load();

const environment = new binding.Environment();
/**
 * The flag, together with the object whose finalizer sets it, which lives as long as any function that reads the flag:
 * Jest drops modules whose stores live on.
 */
const teardown = { environment, flag: environment.tornDown() };

/** Returns true once the finalizers of native objects have run. Deno runs JavaScript after that; Node does not. */
const isTornDown = () => teardown.flag[0] === 1;

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
        throw new RedisStoreError('The JavaScript environment is shutting down.', {
          code: 'ERR_STORE_CLOSED',
        });
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
  isTornDown,
  Completions: guard(binding.Completions),
  RedisStore,
};
