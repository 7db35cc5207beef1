'use strict';

const { setTimeout: sleep } = require('node:timers/promises');
const { startRedis } = require('../support/redis.js');
const { closeAll, familySources, openStore } = require('../support/stores.js');
const { DEADLINE_MS, options } = require('./limits.js');
const { underTraffic } = require('./traffic.js');

let server;
beforeEach(async () => {
  // Keeps every write that it acknowledges, even when it is killed.
  server = await startRedis({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] });
});
afterEach(async () => {
  await closeAll();
  await server?.stop();
});

describe.each(familySources)('a server that is killed, by %s', (source) => {
  test('no operation fails when the server is killed and back within the deadline', async () => {
    const store = await openStore(source, server.port, options);
    const { failed } = await underTraffic(store, { deadline: DEADLINE_MS }, async () => {
      await server.kill();
      await server.start();
    });
    expect(failed).toEqual({});
  });

  test('operations reject with ERR_REDIS_UNAVAILABLE until the server is back when it is killed for longer than the deadline', async () => {
    const store = await openStore(source, server.port, options);
    const { failed } = await underTraffic(store, { deadline: DEADLINE_MS }, async () => {
      await server.kill();
      await sleep(2 * DEADLINE_MS);
      await server.start();
    });
    expect(Object.keys(failed)).toEqual(['ERR_REDIS_UNAVAILABLE']);
  });

  test('acknowledged writes are stored when the server is killed repeatedly', async () => {
    const store = await openStore(source, server.port, options);
    await underTraffic(store, { deadline: DEADLINE_MS }, async (traffic) => {
      for (let times = 0; times < 4; times++) {
        await server.kill();
        await server.start();
        await traffic.servedAgain();
      }
    });
  });

  test('sessions are gone, and new ones are stored, when the server restarts without its data', async () => {
    const forgetful = await startRedis();
    try {
      const store = await openStore(source, forgetful.port, options);
      await underTraffic(store, { deadline: DEADLINE_MS, mayForget: true }, async () => {
        await forgetful.kill();
        await forgetful.start();
      });
    } finally {
      await closeAll();
      await forgetful.stop();
    }
  });
});
