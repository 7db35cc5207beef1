'use strict';

const { RedisStore } = require('../..');
const { startCluster } = require('../support/cluster.js');
const { startProxy } = require('../support/proxy.js');
const { askOnce } = require('../support/redis.js');
const { closeAll, keepStore } = require('../support/stores.js');
const { HANG_MS, until } = require('../support/until.js');

// Writes to one session take effect in the order of their calls, whatever happens to its node.

const LIMIT_MS = 120_000;
const HOST = '127.0.0.1';

const stops = [];
afterEach(async () => {
  await closeAll();
  for (const stop of stops.splice(0)) await stop();
});

async function start(options) {
  const cluster = await startCluster(options);
  stops.push(() => cluster.stop());
  return cluster;
}

const ask = (node, ...command) => askOnce({ port: node.port }, ...command);

test(
  'a write that failed with a transient error is not repeated after a later write that succeeded',
  async () => {
    const cluster = await start({ primaries: 1, replicas: 0 });
    const [node] = cluster.nodes;
    const network = await startProxy(node.port);
    stops.unshift(() => network.close());
    const natMap = { [`${HOST}:${node.port}`]: { host: HOST, port: network.port } };
    const store = keepStore(
      new RedisStore({ cluster: { addresses: cluster.addresses, natMap }, commandTimeout: HANG_MS }),
    );
    await store.set('abc', { n: 0 });

    // Without one of its slots, a cluster serves none.
    const slot = (await cluster.slotOf('sess:abc')) + 1;
    await ask(node, 'CLUSTER', 'DELSLOTS', slot);
    network.delay({ reply: 1500 });
    const first = store.set('abc', { n: 1 });
    await until(async () =>
      /cmdstat_set:.*rejected_calls=1,/.test(String(await ask(node, 'INFO', 'commandstats'))),
    );
    await ask(node, 'CLUSTER', 'ADDSLOTS', slot);
    await until(async () => /cluster_state:ok/.test(String(await ask(node, 'CLUSTER', 'INFO'))));
    const second = store.set('abc', { n: 2 });
    // It takes effect before the reply to the first is back.
    await until(async () => /cmdstat_set:calls=2,/.test(String(await ask(node, 'INFO', 'commandstats'))));
    await network.heal();
    await Promise.all([first, second]);
    expect(await store.get('abc')).toEqual({ n: 2 });
  },
  LIMIT_MS,
);

test(
  'a write that waits at a hanging primary is not repeated at its successor after a later write',
  async () => {
    const cluster = await start({ primaries: 3, replicas: 1 });
    const store = keepStore(
      new RedisStore({ cluster: cluster.addresses, commandTimeout: HANG_MS, prefix: '' }),
    );
    await store.set('abc', { n: 0 });
    const slot = await cluster.slotOf('abc');
    const former = await cluster.ownerOf(slot);
    const successor = cluster.nodes[cluster.nodes.indexOf(former) + 3];
    const others = cluster.nodes.filter((node) => node !== former && node !== successor);

    former.pause();
    const first = store.set('abc', { n: 1 });
    await ask(successor, 'CLUSTER', 'FAILOVER', 'TAKEOVER');
    for (const node of others)
      await until(async () => {
        const { message } = await ask(node, 'GET', 'abc').catch((error) => error);
        return message.endsWith(`:${successor.port}`);
      });
    // A scan refreshes the topology, and it reaches the successor only once the slots are known.
    const listing = store.length().catch(() => {});
    await until(async () => /cmdstat_scan/.test(String(await ask(successor, 'INFO', 'commandstats'))));
    const second = store.set('abc', { n: 2 });
    await Promise.all([first, second, listing]);
    expect(await store.get('abc')).toEqual({ n: 2 });
    former.resume();
  },
  LIMIT_MS,
);
