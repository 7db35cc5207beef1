'use strict';

const { setTimeout: sleep } = require('node:timers/promises');
const { connectRaw, useRedis } = require('../support/redis.js');
const { closeAll, familySources, openStore } = require('../support/stores.js');
const { DEADLINE_MS, options } = require('./limits.js');
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
    const store = await openStore(source, redis.port, options);
    const { failed } = await underTraffic(store, { deadline: DEADLINE_MS }, () => crowd(() => sleep(300)));
    expect(failed).toEqual({});
  });

  test('for longer: the error says so, and there is service when it has', async () => {
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
