'use strict';

const { connectRaw, useRedis } = require('../support/redis.js');
const { closeAll, familySources, openStore } = require('../support/stores.js');
const { until } = require('../support/until.js');
const { AMPLE_MS, DEADLINE_MS, options, patient } = require('./limits.js');
const { underTraffic } = require('./traffic.js');

const redis = useRedis();
afterEach(closeAll);

/** Takes every place that the server has for clients, ends whoever else had one; gives them free when it ends. */
async function crowd(during) {
  // One for the connection that gives the commands.
  await redis.command('CONFIG', 'SET', 'maxclients', 1);
  await redis.command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
  await during();
  await redis.command('CONFIG', 'SET', 'maxclients', 1000);
}

describe.each(familySources)('a server that has no place for another client, by %s,', (source) => {
  test('for a moment: no operation fails', async () => {
    const store = await openStore(source, redis.port, patient);
    const refusals = [];
    store.on('error', ({ message }) => refusals.push(message));
    const { failed } = await underTraffic(store, { deadline: AMPLE_MS }, () =>
      crowd(() => until(() => refusals.some((message) => /max number of clients/.test(message)))),
    );
    expect(failed).toEqual({});
  });

  test('for longer: the error says so, and there is service when it has', async () => {
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
