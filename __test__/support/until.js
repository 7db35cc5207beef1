'use strict';

const { setTimeout: delay } = require('node:timers/promises');

const POLL_MS = 10;

/** Resolves as soon as `condition`, which may be asynchronous, holds; rejects if it does not within `limit` ms. */
async function until(condition, limit = 5000) {
  const deadline = Date.now() + limit;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`Not so within ${limit} ms: ${condition}`);
    await delay(POLL_MS);
  }
}

module.exports = { until };
