'use strict';

const { setTimeout: delay } = require('node:timers/promises');

const POLL_MS = 10;
/** A wait that only a hang exceeds, however busy the machine is. */
const HANG_MS = 60_000;
/**
 * Longer than any test may take. With such a `commandTimeout`, an operation that ends has not waited for its deadline,
 * which needs no measurement.
 */
const NEVER_MS = 600_000;

/** Resolves as soon as `condition`, which may be asynchronous, holds; rejects if it never does. */
async function until(condition) {
  const deadline = performance.now() + HANG_MS;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`Not so within ${HANG_MS} ms: ${condition}`);
    await delay(POLL_MS);
  }
}

module.exports = { HANG_MS, NEVER_MS, until };
