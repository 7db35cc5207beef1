'use strict';

/** What the shop sells: id, and how it is called. */
module.exports = new Map([
  ['apples', 'Apples'],
  ['bread', 'Bread'],
  ['cheese', 'Cheese'],
  ['coffee', 'Coffee'],
]);
