'use strict';

const { wrongType } = require('./common/errors.js');

/** Without a callback, a promise. */
function promised(run) {
  return new Promise((resolve, reject) => {
    run((error, result) => (error ? reject(error) : resolve(result)));
  });
}

/**
 * The same for a caller that passed `undefined` as its callback, as express-session does when the app
 * calls `session.destroy()`: it ignores the promise, so its rejection must not count as unhandled.
 */
function forgettable(isIgnored, run) {
  const promise = promised(run);
  if (isIgnored) promise.catch(() => {});
  return promise;
}

function checked(callback) {
  if (typeof callback !== 'function') throw wrongType('The callback', 'a function', callback);
  return callback;
}

module.exports = { promised, forgettable, checked };
