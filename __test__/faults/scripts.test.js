'use strict';

const { RedisStore } = require('../..');
const { askOnce, startRedis } = require('../support/redis.js');
const { describeServers } = require('../support/servers.js');
const { closeAll, keepStore } = require('../support/stores.js');
const { NEVER_MS } = require('../support/until.js');

let server;
afterEach(async () => {
  await closeAll();
  await server?.stop();
});

const CLOSED_PORT = 1;

describeServers('%s', (_name, program) => {
  test('a conditional save waits while the server is read-only', async () => {
    server = await startRedis({ program });
    const store = keepStore(
      new RedisStore({ url: server.url, onConflict: 'merge', commandTimeout: NEVER_MS }),
    );
    await store.set('abc', { n: 1 });
    const session = await store.get('abc');
    session.n = 2;
    await askOnce(server, 'REPLICAOF', '127.0.0.1', CLOSED_PORT);
    const refused = new Promise((resolve) => store.once('reconnecting', resolve));
    const saved = store.set('abc', session);
    // It has neither succeeded nor failed.
    expect(await Promise.race([refused, saved])).toMatchObject({
      message: expect.stringContaining('READONLY'),
    });
    await askOnce(server, 'REPLICAOF', 'NO', 'ONE');
    await saved;
    expect(await store.get('abc')).toMatchObject({ n: 2 });
  });
});
