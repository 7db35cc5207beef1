'use strict';

const { fork } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');
const { RedisStore } = require('../..');
const { startCluster } = require('../support/cluster.js');
const { startProxy } = require('../support/proxy.js');
const { connectRaw, startRedis } = require('../support/redis.js');
const { closeAll, keepStore, openClient } = require('../support/stores.js');

const HOST = '127.0.0.1';
const ROUNDS = 10;
const LIMIT_MS = 120_000;

const stops = [];
afterEach(async () => {
  await closeAll();
  for (const stop of stops.splice(0)) await stop();
});

const stopLater = (stop) => stops.unshift(stop);

/** Starts a process with a store of its own. Returns a function that calls a method of that store. */
async function startOtherProcess(options) {
  const child = fork(path.join(__dirname, 'programs', 'writer.js'), [JSON.stringify(options)]);
  const exited = once(child, 'exit');
  stopLater(async () => {
    child.disconnect();
    await exited;
  });
  return async (method, ...args) => {
    child.send([method, args]);
    const [error] = await Promise.race([
      once(child, 'message'),
      exited.then(() => ['The process has ended.']),
    ]);
    expect(error).toBeNull();
  };
}

async function startServer() {
  const server = await startRedis();
  stopLater(() => server.stop());
  return { port: server.port, where: { url: `redis://${HOST}:${server.port}` } };
}

async function startClusterOfOne() {
  const cluster = await startCluster({ primaries: 1, replicas: 0 });
  stopLater(() => cluster.stop());
  return { port: cluster.nodes[0].port, where: { cluster: cluster.addresses } };
}

describe.each([
  ['a server', startServer, (port) => ({ url: `redis://${HOST}:${port}` })],
  [
    'a cluster',
    startClusterOfOne,
    (port, of) => ({
      cluster: { addresses: [{ host: HOST, port }], natMap: { [`${HOST}:${of}`]: { host: HOST, port } } },
    }),
  ],
  [
    "the app's client",
    startServer,
    async (port) => ({ client: await openClient('ioredis6', port), transport: 'client' }),
  ],
])('with %s', (_, start, through) => {
  test(
    '`get` returns what another process wrote before it began while an older read is in flight',
    async () => {
      const { port, where } = await start();
      const network = await startProxy(port);
      stopLater(() => network.close());
      const raw = await connectRaw(port);
      stopLater(() => raw.close());
      const store = keepStore(new RedisStore(await through(network.port, port)));
      const write = await startOtherProcess(where);
      const reads = async () =>
        /^cmdstat_get:calls=(\d+)/m.exec(await raw.command('INFO', 'commandstats'))?.[1];

      await write('set', 'abc', { n: 0 });
      await store.get('abc');
      for (let n = 1; n <= ROUNDS; n++) {
        const before = await reads();
        network.delay({ reply: 100 });
        const early = store.get('abc');
        // Waits only until it has executed, since reads were shared only for a few ms.
        while ((await reads()) === before);
        await write('set', 'abc', { n });
        const late = store.get('abc');
        expect((await early).n).toBe(n - 1);
        expect((await late).n).toBe(n);
        await network.heal();
      }
    },
    LIMIT_MS,
  );
});
