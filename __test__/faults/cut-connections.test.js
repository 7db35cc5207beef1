'use strict';

const { setTimeout: sleep } = require('node:timers/promises');
const { useRedis } = require('../support/redis.js');
const { closeAll, familySources, openStore } = require('../support/stores.js');
const { DEADLINE_MS, options } = require('./limits.js');
const { underTraffic } = require('./traffic.js');

const redis = useRedis();
afterEach(closeAll);

const KILLS = 40;
// The longest backoff between attempts to connect stays below the deadline, so nothing may fail.
const PAUSE_MS = 40;

describe.each(familySources)('connections that the server closes repeatedly, by %s', (source) => {
  test('no operation fails when the server closes connections repeatedly', async () => {
    const store = await openStore(source, redis.port, options);
    let killed = 0;
    const { failed } = await underTraffic(store, { deadline: DEADLINE_MS }, async () => {
      for (let times = 0; times < KILLS; times++) {
        killed += await redis.command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
        await sleep(PAUSE_MS);
      }
    });
    expect(killed).toBeGreaterThan(KILLS / 4);
    expect(failed).toEqual({});
  });
});
