'use strict';

const { coded, describe } = require('./errors.js');
const { LONGEST_DELAY_MS } = require('./limits.js');
const { clearTimeout, setTimeout } = require('./timers.js');

/** Functions of the app have a part in the reading of sessions. They are to run in the async context of the call. */
function usesApp({ serializer, ttl }) {
  return serializer !== JSON || typeof ttl === 'function';
}

function isThenable(value) {
  return typeof value?.then === 'function';
}

/** What an app's own function threw, or one in its place that callbacks can tell from a success. */
function thrown(value) {
  return (
    value ||
    coded(
      Error,
      'ERR_APP_FUNCTION',
      `A function of the app, such as "ttl" or one of the serializer, failed with ${describe(value)} ` +
        'in the place of an error',
    )
  );
}

/**
 * An operation fails in the place of an app's function whose promise is not settled: nobody can end the function.
 *
 * @param what the operation and the function
 */
function unsettled(what) {
  return coded(
    Error,
    'ERR_APP_FUNCTION',
    `${what} gave a promise that was not settled by the operation's deadline (commandTimeout)`,
  );
}

/**
 * The promise of an app's function, or a failure if the time is over first. The timer keeps the process: an answer
 * is to come.
 *
 * @param ms what is left of the operation's time
 */
function inTime(promise, ms, what) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(unsettled(what)), Math.min(Math.max(ms, 0), LONGEST_DELAY_MS));
    const settle = (end) => (value) => {
      clearTimeout(timer);
      end(value);
    };
    Promise.resolve(promise).then(settle(resolve), settle(reject));
  });
}

module.exports = { inTime, isThenable, thrown, usesApp };
