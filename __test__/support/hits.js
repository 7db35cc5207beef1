'use strict';

const { until } = require('./until.js');

/** Returns the result of `get` in the same tick: a session, null or an error; 'later' if there is none yet. */
function getSync(store, id) {
  let result = 'later';
  store.get(id, (error, session) => {
    result = error ?? session;
  });
  return result;
}

/** The same, but for a session its `n`. */
function hit(store, id) {
  const result = getSync(store, id);
  return result === null || result === 'later' || result instanceof Error ? result : result.n;
}

/**
 * Resolves when a session has been read from the cache without a break for longer than `ms`, of which a busy machine
 * may need several attempts. `meanwhile` runs between the reads.
 */
async function staysCached(store, id, ms, meanwhile = () => {}) {
  let begin;
  await until(async () => {
    await meanwhile();
    const now = performance.now();
    if (hit(store, id) === 'later') begin = undefined;
    else begin ??= performance.now();
    return now - begin > ms;
  });
}

module.exports = { getSync, hit, staysCached };
