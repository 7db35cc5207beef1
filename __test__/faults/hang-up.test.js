'use strict';

const { RedisStore } = require('../..');
const { startCluster } = require('../support/cluster.js');
const { startProxy } = require('../support/proxy.js');
const { startRedis } = require('../support/redis.js');
const { closeAll, familySources, keepStore, openStore } = require('../support/stores.js');
const { NEVER_MS } = require('../support/until.js');

// A session on which the server hangs up, since its reply is longer than `client-output-buffer-limit`. A proxy does it
// for the server: newer ones send a long value without a copy, which does not count.

const LIMIT = 1_000_000;
const LONG = 5_000_000;

let server;
let network;
afterEach(async () => {
  await closeAll();
  await network?.close();
  await server?.stop();
});

async function start() {
  server = await startRedis();
  network = await startProxy(server.port);
  network.cutAfter(LIMIT);
}

const ids = Array.from({ length: 30 }, (_, n) => `session-${n}`);

/**
 * Reads and writes sessions before and after the one that is too long in one tick. Returns how long that took, in ms.
 */
async function useAll(store) {
  await Promise.all(ids.map((id) => store.set(id, { id })));
  await store.set('long', { text: 'x'.repeat(LONG) });
  const before = ids.map((id) => store.get(id));
  const long = store.get('long').then(
    () => undefined,
    (error) => error,
  );
  const writes = ids.map((id) => store.set(`${id}-2`, { id }));
  const behind = ids.map((id) => store.get(`${id}-2`));

  expect(await Promise.all(before)).toEqual(ids.map((id) => ({ id })));
  await Promise.all(writes);
  expect(await Promise.all(behind)).toEqual(ids.map((id) => ({ id })));
  expect(await long).toMatchObject({
    code: 'ERR_REDIS_UNAVAILABLE',
    message: expect.stringMatching(
      /^get failed: the connection was lost .*\(redis:\/\/127\.0\.0\.1:\d+; 3 attempts; last error: ./,
    ),
  });
}

test.each(familySources)(
  'a read on which the server hangs up rejects, and delays no other operation, by %s',
  async (source) => {
    await start();
    await useAll(await openStore(source, network.port, { commandTimeout: NEVER_MS }));
  },
);

test('a read on which the server hangs up rejects, and delays no other operation, with the cache', async () => {
  await start();
  await useAll(await openStore('url', network.port, { commandTimeout: NEVER_MS, cache: true }));
});

test('a read on which the server hangs up rejects, and delays no other operation, in a cluster', async () => {
  server = await startCluster({ primaries: 1, replicas: 0 });
  const [{ host, port }] = server.addresses;
  network = await startProxy(port);
  network.cutAfter(LIMIT);
  const natMap = { [`${host}:${port}`]: { host, port: network.port } };
  const options = {
    cluster: { addresses: [{ host, port: network.port }], natMap },
    commandTimeout: NEVER_MS,
  };
  await useAll(keepStore(new RedisStore(options)));
});
