'use strict';

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

module.exports = { getSync, hit };
