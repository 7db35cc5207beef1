'use strict';

const { setTimeout: delay } = require('node:timers/promises');
const { RedisStore } = require('../..');
const { askOnce } = require('../support/redis.js');
const { startCluster } = require('../support/cluster.js');
const { startProxy } = require('../support/proxy.js');
const { seeded } = require('../support/random.js');
const { closeAll, keepStore } = require('../support/stores.js');
const { HANG_MS } = require('../support/until.js');

const MAX_STALENESS_MS = 500;
/** The cache's clocks count whole milliseconds, and this process reads its own a moment later. */
const TOLERANCE_MS = 5;
const RUN_MS = 12_000;
const READS_AT_ONCE = 100;

let cluster;
let proxies;

beforeAll(async () => {
  cluster = await startCluster({ primaries: 3, replicas: 0 });
  proxies = await Promise.all(cluster.nodes.map(({ port }) => startProxy(port)));
});
afterAll(async () => {
  await closeAll();
  await Promise.all(proxies.map((proxy) => proxy.close()));
  await cluster.stop();
});

/** A session that is overwritten by one version after another. */
class Session {
  #last = 0;
  /** When each version was overwritten, that is, the next one had been acknowledged. */
  #overwritten = [];

  constructor(id) {
    this.id = id;
  }

  async overwrite(store) {
    const n = ++this.#last;
    await store.set(this.id, { n });
    const now = performance.now();
    while (this.#overwritten.length < n) this.#overwritten.push(now);
  }

  /** Returns how long a version had been overwritten at a time. */
  age(n, now) {
    return now - (this.#overwritten[n] ?? now);
  }
}

const faults = [
  ({ proxy, random }) => proxy.delay({ request: random() * 100, reply: random() * 450 }),
  // Replies that are older than maxStaleness, but still arrive.
  ({ proxy, random }) => proxy.delay({ reply: 600 + random() * 800 }),
  ({ proxy }) => proxy.silence(),
  ({ proxy }) => proxy.reset(),
  ({ node }) => askOnce(node, 'CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes'),
  async () => {
    const [one, other] = await cluster.primaries();
    await cluster.moveSlots([await cluster.firstSlotOf(one)], other);
  },
];

test('no read of a cluster is staler than maxStaleness, whatever fails between its nodes and the store', async () => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  const random = seeded(seed);
  const pick = (list) => list[Math.floor(random() * list.length)];
  const natMap = Object.fromEntries(
    cluster.nodes.map(({ port }, n) => [`127.0.0.1:${port}`, { host: '127.0.0.1', port: proxies[n].port }]),
  );
  const open = (options) => {
    const store = keepStore(new RedisStore(options));
    store.on('error', () => {});
    return store;
  };
  const writer = open({ cluster: cluster.addresses, commandTimeout: HANG_MS });
  const reader = open({
    cluster: { addresses: cluster.addresses, natMap },
    cache: { maxStaleness: MAX_STALENESS_MS },
    commandTimeout: 2000,
  });
  const sessions = Array.from({ length: 60 }, (_, n) => new Session(`s${n}`));
  let isOver = false;
  let hits = 0;
  let oldest = 0;

  const write = async (session) => {
    while (!isOver) {
      // A connection may be lost meanwhile: it is opened again.
      await session.overwrite(writer);
      await delay(20 + random() * 400);
    }
  };
  const read = async () => {
    while (!isOver) {
      for (let n = 0; n < READS_AT_ONCE; n++) {
        const session = pick(sessions);
        const began = performance.now();
        let isHit = true;
        reader.get(session.id, (error, found) => {
          if (error || found === null || !isHit) return;
          hits++;
          oldest = Math.max(oldest, session.age(found.n, began));
        });
        isHit = false;
      }
      await delay(1);
    }
  };
  const fail = async () => {
    const end = performance.now() + RUN_MS;
    while (performance.now() < end || hits <= 10_000) {
      const at = Math.floor(random() * proxies.length);
      await pick(faults)({ proxy: proxies[at], node: cluster.nodes[at], random });
      await delay(300 + random() * 1200);
      await Promise.all(proxies.map((proxy) => proxy.heal()));
    }
    isOver = true;
  };
  await Promise.all([...sessions.map(write), read(), fail()]);

  const stale = oldest > MAX_STALENESS_MS + TOLERANCE_MS ? [{ seed, oldest }] : [];
  expect(stale).toEqual([]);
});
