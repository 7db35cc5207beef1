'use strict';

const { setTimeout: sleep } = require('node:timers/promises');
const { useRedis } = require('../support/redis.js');
const { closeAll, familySources, openStore } = require('../support/stores.js');
const { AMPLE_MS, patient } = require('./limits.js');
const { underTraffic } = require('./traffic.js');

const redis = useRedis();
afterEach(closeAll);

const KILLS = 40;
/** Long enough for some stores to reconnect. */
const PAUSE_MS = 40;

describe.each(familySources)('connections that the server closes repeatedly, by %s', (source) => {
  test('no operation fails when the server closes connections repeatedly', async () => {
    const store = await openStore(source, redis.port, patient);
    let killed = 0;
    const { failed } = await underTraffic(store, { deadline: AMPLE_MS }, async () => {
      while (killed < KILLS) {
        killed += await redis.command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
        await sleep(PAUSE_MS);
      }
    });
    expect(failed).toEqual({});
  });
});
