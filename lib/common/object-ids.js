'use strict';

/** Numbers for objects, from 1 and always the same for the same one. An object is not kept alive by its number. */
function objectIds() {
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
