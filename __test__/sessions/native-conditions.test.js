'use strict';

const { RedisStore } = require('../..');
const { findServers } = require('../../scripts/servers.js');
const { askOnce, startRedis } = require('../support/redis.js');
const { closeAll, keepStore } = require('../support/stores.js');
const { until } = require('../support/until.js');

// Conditional saves run natively (`SET … IFEQ`) where the server supports it, else by a script.

const programs = Object.fromEntries(findServers().map(({ name, program }) => [name, program]));
const valkey = programs['Valkey 9'];
const older = programs['Redis 6.2'];
const describeValkey = valkey ? describe : describe.skip;

let server;
afterEach(async () => {
  await closeAll();
  await server?.stop();
});

const url = () => `redis://127.0.0.1:${server.port}`;
const scripts = async () =>
  (String(await askOnce(server, 'INFO', 'commandstats')).match(/cmdstat_eval/g) ?? []).length;

async function save(store, n) {
  const session = (await store.get('abc')) ?? {};
  session.n = n;
  await store.set('abc', session);
}

describeValkey('Valkey 9', () => {
  test('native conditions stay enabled after the server rejects a save for its size', async () => {
    server = await startRedis({ program: valkey, args: ['--proto-max-bulk-len', '1mb'] });
    const store = keepStore(new RedisStore({ url: url(), onConflict: 'merge', commandTimeout: 2000 }));
    await save(store, 1);
    const session = await store.get('abc');
    session.text = 'x'.repeat(2_000_000);
    await expect(store.set('abc', session)).rejects.toThrow();
    await askOnce(server, 'ACL', 'SETUSER', 'default', '-@scripting');
    await save(store, 2);
    expect(await store.get('abc')).toMatchObject({ n: 2 });
  });

  const testUpgrade = older ? test : test.skip;
  testUpgrade('native conditions are used once an older server is upgraded', async () => {
    server = await startRedis({ program: older });
    const { port } = server;
    const store = keepStore(new RedisStore({ url: url(), onConflict: 'merge' }));
    await save(store, 1);
    await save(store, 2);
    expect(await scripts()).toBeGreaterThan(0);
    await server.stop();
    server = await startRedis({ program: valkey, port });
    await until(() => store.get('abc').then(() => true));
    await save(store, 3);
    await save(store, 4);
    expect(await scripts()).toBe(0);
  });
});
