'use strict';

const { underTraffic } = require('../faults/traffic.js');
const { HANG_MS } = require('../support/until.js');

/** Well above the time in which these servers replace a lost one, so that operations can wait for it. */
const DEADLINE_MS = HANG_MS;
/** The pause between the steps of a visitor, in ms: the servers need the machine, too, to agree on changes. */
const PACE_MS = 10;
const LIMIT_MS = 240_000;

/**
 * Runs `change` under traffic: it changes which servers there are, and resolves once they can serve. No operation
 * fails. Prints how long it took, and how long until each visitor was served from then on.
 *
 * @param {(key: string) => Promise<Buffer | null>} read returns what the current primary of a key has
 */
async function throughChange(store, what, read, change) {
  let times;
  const run = async (traffic) => {
    const start = performance.now();
    await change(traffic);
    const changed = performance.now();
    times = [changed - start, await traffic.served()].map(Math.round);
  };
  const { issued, failed, longest } = await underTraffic(
    ...[store, { deadline: DEADLINE_MS, mayFallBack: true, pace: PACE_MS }, run],
  );
  process.stderr.write(
    `${what}: ${times[0]} ms to change, ${times[1]} ms to recover, ${issued} operations, ` +
      `the longest ${Math.round(longest)} ms\n`,
  );
  expect(failed).toEqual({});
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
