'use strict';

const { setTimeout: sleep } = require('node:timers/promises');
const { connectRaw, useRedis } = require('../support/redis.js');
const { closeAll, familySources, openStore } = require('../support/stores.js');
const { DEADLINE_MS, options } = require('./limits.js');
const { underTraffic } = require('./traffic.js');

const redis = useRedis();
afterEach(closeAll);

/** Occupies every connection of the server and closes all others; frees them when `during` resolves. */
async function crowd(during) {
  // One for the connection that sends the commands.
  await redis.command('CONFIG', 'SET', 'maxclients', 1);
  await redis.command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
  await during();
  await redis.command('CONFIG', 'SET', 'maxclients', 1000);
}

describe.each(familySources)('a server that accepts no more clients, by %s', (source) => {
  test('no operation fails when the server accepts no clients for a moment', async () => {
    const store = await openStore(source, redis.port, options);
    const { failed } = await underTraffic(store, { deadline: DEADLINE_MS }, () => crowd(() => sleep(300)));
    expect(failed).toEqual({});
  });

  test("operations reject with the server's error while it accepts no clients, and succeed afterwards", async () => {
    const store = await openStore(source, redis.port, options);
    let error;
    const { failed } = await underTraffic(store, { deadline: DEADLINE_MS }, () =>
      crowd(async () => {
        await expect(connectRaw(redis.port).then((raw) => raw.command('PING'))).resolves.toBeInstanceOf(
          Error,
        );
        error = await store.get('abc').catch((reason) => reason);
      }),
    );
    expect(error).toMatchObject({ code: 'ERR_REDIS_UNAVAILABLE' });
    expect(error.message).toMatch(/max number of clients/);
    expect(Object.keys(failed)).toEqual(['ERR_REDIS_UNAVAILABLE']);
  });
});
