'use strict';

const { until } = require('./until.js');

/** What `get` gives in the same tick: a session, null or an error; 'later' if it gives nothing yet. */
function givenAtOnce(store, id) {
  let given = 'later';
  store.get(id, (error, session) => {
    given = error ?? session;
  });
  return given;
}

/** The same, but of a session its `n`. */
function hit(store, id) {
  const given = givenAtOnce(store, id);
  return given === null || given === 'later' || given instanceof Error ? given : given.n;
}

/**
 * Resolves when a session has been read from the cache without a break for longer than `ms`, of which a busy machine
 * may need several attempts. `meanwhile` is done between the reads.
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

module.exports = { givenAtOnce, hit, staysCached };
