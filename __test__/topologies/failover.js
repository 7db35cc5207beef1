'use strict';

const { Traffic } = require('../faults/traffic.js');

/** Well above the time in which these servers replace a lost one, so that operations can wait for it. */
const DEADLINE_MS = 8000;
/** Operations succeed within this time of the promotion of a primary. */
const RETURN_MS = 2000;
const LIMIT_MS = 240_000;

/**
 * Runs `change` under traffic: it changes which servers there are, and resolves once they can serve. Prints how long
 * it took, and how long until each visitor was served from then on.
 *
 * @param {(key: string) => Promise<Buffer | null>} read returns what the current primary of a key has
 * @param {number} [returnMs] how soon operations must succeed
 */
async function throughChange(store, what, read, change, returnMs = RETURN_MS) {
  const traffic = new Traffic(store, { deadline: DEADLINE_MS, mayFallBack: true });
  let violations;
  let recovery;
  try {
    await traffic.served();
    const start = performance.now();
    await change(traffic);
    const changed = performance.now();
    recovery = await traffic.served();
    process.stderr.write(
      `${what}: ${Math.round(changed - start)} ms to change, ${Math.round(recovery)} ms to recover, ` +
        `${traffic.issued} operations, ${JSON.stringify(traffic.failed)} failed, ` +
        `the longest ${Math.round(traffic.longest)} ms\n`,
    );
  } finally {
    violations = await traffic.stop();
  }
  expect(violations).toEqual([]);
  expect(recovery).toBeLessThan(returnMs);
  expect(traffic.failed).toEqual({});
  await expectAgreement(store, read);
}

/** Expects the store to return what the primaries have: nothing was written to, or read from, a former server. */
async function expectAgreement(store, read) {
  const ids = await store.ids();
  expect(ids.length).toBeGreaterThan(0);
  for (const id of ids) {
    const text = await read(`sess:${id}`);
    expect(await store.get(id)).toEqual(JSON.parse(String(text)));
  }
}

module.exports = { DEADLINE_MS, LIMIT_MS, throughChange };
