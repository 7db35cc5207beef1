'use strict';

/**
 * Calls `get` fifty times, five times in each of ten successive ticks.
 *
 * @param idOf returns the id of each, by its number
 * @returns how many failed, by their `code`
 */
async function failuresOfGetsInTicks(store, idOf = (n) => `session-${n}`) {
  const codes = {};
  const count = ({ code }) => {
    codes[code] = (codes[code] ?? 0) + 1;
  };
  const gets = [];
  for (let tick = 0; tick < 10; tick++) {
    for (let n = 0; n < 5; n++) gets.push(store.get(idOf(5 * tick + n)).catch(count));
    await new Promise(setImmediate);
  }
  await Promise.all(gets);
  return codes;
}

module.exports = { failuresOfGetsInTicks };
