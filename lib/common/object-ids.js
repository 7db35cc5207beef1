'use strict';

/**
 * Returns a function that numbers objects from 1, each always by the same number. Does not keep the objects alive.
 *
 * @returns {(object: object) => number}
 */
function objectIds() {
  /** @type {WeakMap<object, number>} */
  const numbers = new WeakMap();
  let last = 0;
  return (object) => {
    let number = numbers.get(object);
    if (number === undefined) {
      number = ++last;
      numbers.set(object, number);
    }
    return number;
  };
}

module.exports = { objectIds };
