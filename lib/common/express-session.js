'use strict';

const path = require('node:path');

/**
 * Returns the app's express-session, which this package does not find from its own folder where that is linked into
 * the app's, as by `npm install <folder>`.
 *
 * @returns {typeof import('express-session')}
 */
function load() {
  try {
    return require('express-session');
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'MODULE_NOT_FOUND') throw error;
    const paths = [path.dirname(process.argv[1] ?? ''), process.cwd()];
    let file;
    try {
      file = require.resolve('express-session', { paths });
    } catch {
      throw error;
    }
    return require(file);
  }
}

module.exports = load();
