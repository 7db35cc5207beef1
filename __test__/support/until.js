'use strict';

const { setTimeout: delay } = require('node:timers/promises');

const LIMIT_MS = 5000;
const POLL_MS = 10;

/** Resolves as soon as `condition`, which may be asynchronous, holds; rejects if it does not in 5 seconds. */
async function until(condition) {
  const deadline = Date.now() + LIMIT_MS;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`Not so within ${LIMIT_MS} ms: ${condition}`);
    await delay(POLL_MS);
  }
}

module.exports = { until };
