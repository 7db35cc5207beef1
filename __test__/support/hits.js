'use strict';

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

module.exports = { givenAtOnce, hit };
