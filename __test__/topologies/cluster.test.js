'use strict';

const { RedisStore } = require('../..');
const { startCluster } = require('../support/cluster.js');
const { startProxy } = require('../support/proxy.js');
const { askOnce } = require('../support/redis.js');
const { describeServers } = require('../support/servers.js');
const { closeAll, keepStore } = require('../support/stores.js');
const { until } = require('../support/until.js');
const { DEADLINE_MS, LIMIT_MS, throughChange } = require('./failover.js');

const password = 'of-the-nodes';

let cluster;
afterEach(async () => {
  await closeAll();
  await cluster?.stop();
});

/** Opens a store that knows one node. */
function openStore(options = {}) {
  const { addresses = cluster.addresses.slice(0, 1), natMap, ...rest } = options;
  return keepStore(
    new RedisStore({ cluster: { addresses, natMap }, password, commandTimeout: DEADLINE_MS, ...rest }),
  );
}

const read = (key) => cluster.command(key, 'GET', key);

/** Returns a key in each of `count` slots, spread over the cluster. */
async function spread(count) {
  const keys = Array.from({ length: count }, (_, number) => `sess:spread-${number}`);
  const slots = await Promise.all(keys.map((key) => cluster.slotOf(key)));
  return { keys, slots: [...new Set(slots)] };
}

describeServers('%s', (name, program) => {
  test(
    'operations succeed after a primary died and its replica was promoted',
    async () => {
      cluster = await startCluster({ program, password });

      await throughChange(openStore(), `${name}: primary killed`, read, () => cluster.failOver());
    },
    LIMIT_MS,
  );

  test(
    'sessions survive slot migrations under load, also to a node that joins and leaves, and each is counted once',
    async () => {
      cluster = await startCluster({ program, password });
      const store = openStore();
      const { keys, slots } = await spread(60);
      for (const key of keys) await store.set(key.slice('sess:'.length), { n: 1 });
      const counter = openStore({ prefix: 'sess:spread-' });

      await throughChange(store, `${name}: slots moved`, read, async () => {
        const [home] = await cluster.primaries();
        const added = await cluster.addPrimary();
        // A primary that gives up its last slot becomes a replica; this one stays with it.
        const anchor = (Math.max(...slots) + 1) % 16_384;
        await cluster.moveSlots([anchor], added);

        let moving = true;
        const counts = (async () => {
          const seen = [];
          while (moving) seen.push(await counter.length());
          return seen;
        })();
        for (let times = 0; times < 3; times++) {
          await cluster.moveSlots(slots, added);
          await cluster.moveSlots(slots, home);
        }
        moving = false;
        const seen = await counts;
        expect(seen.length).toBeGreaterThan(0);
        expect([...new Set(seen)]).toEqual([keys.length]);

        await cluster.moveSlots([anchor], home);
        await cluster.remove(added);
      });
    },
    LIMIT_MS,
  );
});

test(
  'operations succeed after a primary hung and resumed as a replica',
  async () => {
    cluster = await startCluster({ password });

    await throughChange(openStore(), 'primary paused', read, async (traffic) => {
      const former = (await cluster.primaries())[1];
      const slot = await cluster.firstSlotOf(former);
      former.pause();
      await until(async () => (await cluster.ownerOf(slot)) !== former);
      await traffic.served();
      former.resume();
      await cluster.settled();
    });
  },
  LIMIT_MS,
);

test(
  'operations succeed after the only configured node died',
  async () => {
    cluster = await startCluster({ password });
    const [known] = cluster.nodes;
    const store = openStore();

    await throughChange(store, 'the known node killed', read, () => cluster.failOver(known));
  },
  LIMIT_MS,
);

test(
  'operations use the addresses of natMap, also after a failover',
  async () => {
    cluster = await startCluster({ password });
    const proxies = await Promise.all(cluster.nodes.map(({ port }) => startProxy(port)));
    try {
      const place = (port) => ({ host: '127.0.0.1', port });
      const natMap = Object.fromEntries(
        cluster.nodes.map(({ port }, index) => [`127.0.0.1:${port}`, place(proxies[index].port)]),
      );
      const store = openStore({ addresses: [place(proxies[0].port)], natMap });
      await throughChange(store, 'by natMap', read, () => cluster.failOver());

      for (const node of await cluster.primaries())
        expect(proxies[cluster.nodes.indexOf(node)].accepted).toBeGreaterThan(0);
    } finally {
      await closeAll();
      await Promise.all(proxies.map((proxy) => proxy.close()));
    }
  },
  LIMIT_MS,
);

describe('readFrom', () => {
  const gets = async ({ port }) => {
    const stats = String(await askOnce({ port, password }, 'INFO', 'commandstats'));
    return Number(/cmdstat_get:calls=(\d+)/.exec(stats)?.[1] ?? 0);
  };
  const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

  test(
    "readFrom: 'replica-preferred' reads from replicas, and from primaries when there are none",
    async () => {
      cluster = await startCluster({ password });
      // A node lists a replica once it has received its offset.
      const [{ port }] = cluster.nodes;
      await until(async () =>
        (await askOnce({ port, password }, 'CLUSTER', 'SLOTS')).every(([, , , replica]) => replica),
      );
      const store = openStore({ readFrom: 'replica-preferred' });
      const primaries = await cluster.primaries();
      const replicas = cluster.nodes.filter((node) => !primaries.includes(node));
      const { keys } = await spread(60);
      const ids = keys.map((key) => key.slice('sess:'.length));
      await Promise.all(ids.map((id) => store.set(id, { id })));
      await cluster.everywhere('WAIT', 1, 60_000);

      // Replicas are connected to after the primaries.
      await until(async () => {
        const before = sum(await Promise.all(primaries.map(gets)));
        expect(await Promise.all(ids.map((id) => store.get(id)))).toEqual(ids.map((id) => ({ id })));
        return sum(await Promise.all(primaries.map(gets))) === before;
      });
      expect(sum(await Promise.all(replicas.map(gets)))).toBeGreaterThanOrEqual(ids.length);

      await Promise.all(replicas.map((node) => node.kill()));
      expect(await Promise.all(ids.map((id) => store.get(id)))).toEqual(ids.map((id) => ({ id })));
    },
    LIMIT_MS,
  );

  test(
    "readFrom: 'primary', the default, does not use replicas",
    async () => {
      cluster = await startCluster({ password });
      const store = openStore();
      const primaries = await cluster.primaries();
      const { keys } = await spread(60);
      await Promise.all(keys.map((key) => store.get(key.slice('sess:'.length))));

      const replicas = cluster.nodes.filter((node) => !primaries.includes(node));
      expect(await Promise.all(replicas.map(gets))).toEqual(replicas.map(() => 0));
    },
    LIMIT_MS,
  );
});
