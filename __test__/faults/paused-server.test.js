'use strict';

const { setTimeout: sleep } = require('node:timers/promises');
const { useRedis } = require('../support/redis.js');
const { closeAll, familySources, openStore } = require('../support/stores.js');
const { AMPLE_MS, DEADLINE_MS, options, patient } = require('./limits.js');
const { underTraffic } = require('./traffic.js');

const redis = useRedis();
afterEach(closeAll);

describe.each(familySources)('a server that hangs, by %s', (source) => {
  test('no operation fails when the server hangs for less than the deadline', async () => {
    const store = await openStore(source, redis.port, patient);
    const { failed } = await underTraffic(store, { deadline: AMPLE_MS }, async () => {
      redis.server.pause();
      await sleep(400);
      redis.server.resume();
    });
    expect(failed).toEqual({});
  });

  test('operations reject with ERR_REDIS_TIMEOUT while the server hangs for longer than the deadline, and succeed afterwards', async () => {
    const store = await openStore(source, redis.port, options);
    await underTraffic(store, { deadline: DEADLINE_MS }, async (traffic) => {
      redis.server.pause();
      const failed = await traffic.fails('ERR_REDIS_TIMEOUT');
      redis.server.resume();
      expect(Object.keys(failed)).toEqual(['ERR_REDIS_TIMEOUT']);
    });
  });
});
