'use strict';

/**
 * Copies a string to its own memory. V8 represents a slice as a pointer into its parent: an id that was sliced from the
 * text of a page would keep the whole page alive.
 *
 * @param {string} text
 */
function flatCopy(text) {
  return Buffer.from(text).toString();
}

module.exports = { flatCopy };
