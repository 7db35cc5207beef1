'use strict';

const { STALE, checkCoherence } = require('../../bench/coherence.js');

/** The check ends after enough reads; only a hang takes as long as the limit. */
const PLAN = { readers: 2, uncached: 1, writers: 2, reads: 30_000, ms: 10_000, limitMs: 90_000 };

// A short version of `npm run bench -- --coherence`.
test('no cached read is stale, whatever fails', async () => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  const { broken, reads, uncached, hits } = await checkCoherence({
    seed,
    plan: PLAN,
    node: process.execPath,
    log: false,
  });
  expect({ seed, broken: broken.slice(0, 5) }).toEqual({ seed, broken: [] });
  expect(reads).toBeGreaterThan(10_000);
  expect(uncached).toBeGreaterThan(1000);
  expect(hits).toBeGreaterThan(1000);
});

test('the coherence check reports the stale reads of a store that misses changes', async () => {
  const { broken } = await checkCoherence({ seed: 1, plan: STALE, node: process.execPath, log: false });
  expect(broken).toContainEqual(expect.stringMatching(/gone for \d+\.\d+ ms when the read began/));
});
