'use strict';

const { startRedis } = require('../support/redis.js');
const { closeAll, familySources, openStore } = require('../support/stores.js');
const { AMPLE_MS, DEADLINE_MS, options, patient } = require('./limits.js');
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
    const store = await openStore(source, server.port, patient);
    const { failed } = await underTraffic(store, { deadline: AMPLE_MS }, async () => {
      await server.kill();
      await server.start();
    });
    expect(failed).toEqual({});
  });

  test('operations reject with ERR_REDIS_UNAVAILABLE until the server is back when it is killed for longer than the deadline', async () => {
    const store = await openStore(source, server.port, options);
    await underTraffic(store, { deadline: DEADLINE_MS }, async (traffic) => {
      await server.kill();
      const failed = await traffic.fails('ERR_REDIS_UNAVAILABLE');
      expect(Object.keys(failed)).toEqual(['ERR_REDIS_UNAVAILABLE']);
      await server.start();
    });
  });

  test('acknowledged writes are stored when the server is killed repeatedly', async () => {
    const store = await openStore(source, server.port, options);
    await underTraffic(store, { deadline: DEADLINE_MS }, async (traffic) => {
      for (let times = 0; times < 4; times++) {
        await server.kill();
        await server.start();
        await traffic.served();
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
