'use strict';

const { STALE, checkCoherence } = require('../../bench/coherence.js');

// The short run of what `npm run bench -- --coherence` does at length.
test('no read is stale, whatever fails', async () => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  const { broken, reads, uncached, hits } = await checkCoherence({
    seed,
    quick: true,
    node: process.execPath,
    log: false,
  });
  expect({ seed, broken: broken.slice(0, 5) }).toEqual({ seed, broken: [] });
  expect(reads).toBeGreaterThan(10_000);
  expect(uncached).toBeGreaterThan(1000);
  expect(hits).toBeGreaterThan(1000);
}, 60_000);

test('the check finds the stale reads of a store that misses changes', async () => {
  const { broken } = await checkCoherence({ seed: 1, plan: STALE, node: process.execPath, log: false });
  expect(broken).toContainEqual(expect.stringMatching(/gone for \d+\.\d+ ms when the read began/));
}, 60_000);
