'use strict';

const { connectRaw, useRedis } = require('../support/redis.js');
const { closeAll, familySources, openStore } = require('../support/stores.js');
const { until } = require('../support/until.js');
const { AMPLE_MS, DEADLINE_MS, options, patient } = require('./limits.js');
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
    const store = await openStore(source, redis.port, patient);
    const refusals = [];
    store.on('error', ({ message }) => refusals.push(message));
    const { failed } = await underTraffic(store, { deadline: AMPLE_MS }, () =>
      crowd(() => until(() => refusals.some((message) => /max number of clients/.test(message)))),
    );
    expect(failed).toEqual({});
  });

  test("operations reject with the server's error while it accepts no clients, and succeed afterwards", async () => {
    const store = await openStore(source, redis.port, options);
    await underTraffic(store, { deadline: DEADLINE_MS }, (traffic) =>
      crowd(async () => {
        await expect(connectRaw(redis.port).then((raw) => raw.command('PING'))).resolves.toBeInstanceOf(
          Error,
        );
        const error = await store.get('abc').catch((reason) => reason);
        expect(error).toMatchObject({ code: 'ERR_REDIS_UNAVAILABLE' });
        expect(error.message).toMatch(/max number of clients/);
        const failed = await traffic.fails('ERR_REDIS_UNAVAILABLE');
        expect(Object.keys(failed)).toEqual(['ERR_REDIS_UNAVAILABLE']);
      }),
    );
  });
});
