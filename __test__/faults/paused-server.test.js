'use strict';

const { setTimeout: sleep } = require('node:timers/promises');
const { useRedis } = require('../support/redis.js');
const { closeAll, familySources, openStore } = require('../support/stores.js');
const { DEADLINE_MS, options } = require('./limits.js');
const { underTraffic } = require('./traffic.js');

const redis = useRedis();
afterEach(closeAll);

async function pause(ms) {
  redis.server.pause();
  await sleep(ms);
  redis.server.resume();
}

describe.each(familySources)('a server that hangs, by %s', (source) => {
  test('no operation fails when the server hangs for less than the deadline', async () => {
    const store = await openStore(source, redis.port, options);
    const { failed, longest } = await underTraffic(store, { deadline: DEADLINE_MS }, () => pause(400));
    expect(failed).toEqual({});
    // Without the pause, it would be a few.
    expect(longest).toBeGreaterThan(100);
  });

  test('operations reject with ERR_REDIS_TIMEOUT while the server hangs for longer than the deadline, and succeed afterwards', async () => {
    const store = await openStore(source, redis.port, options);
    const { failed } = await underTraffic(store, { deadline: DEADLINE_MS }, () => pause(3 * DEADLINE_MS));
    expect(Object.keys(failed)).toEqual(['ERR_REDIS_TIMEOUT']);
  });
});
