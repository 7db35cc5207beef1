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

/** Sessions before and behind the one that is too long, read and written in one tick. */
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
    message: expect.stringMatching(/^get: redis:\/\/127\.0\.0\.1:\d+ hung up on it 3 times, .*; the last: ./),
  });
}

test.each(familySources)('fails, and holds nothing else up, by %s', async (source) => {
  await start();
  await useAll(await openStore(source, network.port, { commandTimeout: NEVER_MS }));
});

test('fails, and holds nothing else up, with the cache', async () => {
  await start();
  await useAll(await openStore('url', network.port, { commandTimeout: NEVER_MS, cache: true }));
});

test('fails, and holds nothing else up, in a cluster', async () => {
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
