'use strict';

/** The goods of the shop: id and name. */
module.exports = new Map([
  ['apples', 'Apples'],
  ['bread', 'Bread'],
  ['cheese', 'Cheese'],
  ['coffee', 'Coffee'],
]);
