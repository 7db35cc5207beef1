'use strict';

/**
 * Returns the exports of an optional peer dependency.
 *
 * @template Exports
 * @param {string} subpath the subpath export that needs it
 * @param {string} name
 * @param {() => Exports} load requires it; a literal `require`, so that bundlers find it
 * @throws {Error} MODULE_NOT_FOUND if the app has not installed it
 */
function loadPeer(subpath, name, load) {
  try {
    return load();
  } catch (error) {
    const { code } = /** @type {NodeJS.ErrnoException} */ (error);
    if (code !== 'MODULE_NOT_FOUND') throw error;
    const message = `connect-redis-native/${subpath} needs the package ${name}: npm install ${name}`;
    throw Object.assign(new Error(message, { cause: error }), { code });
  }
}

module.exports = { loadPeer };
