'use strict';

const { setTimeout: delay } = require('node:timers/promises');
const { RedisStore } = require('../..');
const { startCluster } = require('../support/cluster.js');
const { hit, staysCached } = require('../support/hits.js');
const { askOnce } = require('../support/redis.js');
const { closeAll, keepStore } = require('../support/stores.js');
const { until } = require('../support/until.js');

const LIMIT_MS = 120_000;
const MAX_STALENESS_MS = 400;
/** The cache's clocks count whole milliseconds. */
const TOLERANCE_MS = 10;

let cluster;
afterEach(async () => {
  await closeAll();
  await cluster?.stop();
});

const stored = (n) => JSON.stringify({ n });

test(
  'a cached session is not returned beyond maxStaleness when its slot has a new owner that alone reports changes',
  async () => {
    cluster = await startCluster({
      primaries: 2,
      replicas: 0,
      args: ['--cluster-require-full-coverage', 'no'],
    });
    const [source, target] = cluster.nodes;
    const slotOf = (id) => cluster.slotOf(`sess:${id}`);
    const ids = [];
    for (let n = 0; ids.length < 2; n++)
      if ((await cluster.ownerOf(await slotOf(`id-${n}`))) === source) ids.push(`id-${n}`);
    const [moved, staying] = ids;
    for (const id of ids) await askOnce(source, 'SET', `sess:${id}`, stored(1));
    const store = keepStore(
      new RedisStore({ cluster: cluster.addresses, cache: { maxStaleness: MAX_STALENESS_MS } }),
    );
    await store.get(moved);
    await until(() => hit(store, moved) === 1);
    // The last key that is requested from the node.
    await store.set(staying, { n: 1 });
    await until(() => hit(store, staying) === 1);
    expect(hit(store, moved)).toBe(1);

    // The source keeps the slot's keys and reports no change, as one does that trims them slowly.
    const slot = await slotOf(moved);
    for (const node of [source, target]) await askOnce(node, 'CLUSTER', 'DELSLOTS', slot);
    await askOnce(target, 'CLUSTER', 'ADDSLOTS', slot);
    await until(() =>
      askOnce(target, 'SET', `sess:${moved}`, stored(2)).then(
        () => true,
        () => false,
      ),
    );
    const since = performance.now();
    let last;
    let isHit = true;
    while (isHit) {
      const now = performance.now();
      isHit = hit(store, moved) === 1;
      if (isHit) last = now;
      hit(store, staying);
      await delay(5);
    }
    // The last cache hit began by then.
    expect((last ?? since) - since).toBeLessThan(MAX_STALENESS_MS + TOLERANCE_MS);
    expect(await store.get(moved)).toEqual({ n: 2 });
    await store.get(staying);
    await until(() => hit(store, moved) === 2 && hit(store, staying) === 1);
  },
  LIMIT_MS,
);

test(
  'cached sessions stay cached while the slots of a busy cluster stay where they are',
  async () => {
    cluster = await startCluster({ primaries: 2, replicas: 0 });
    const store = keepStore(
      new RedisStore({ cluster: cluster.addresses, cache: { maxStaleness: MAX_STALENESS_MS } }),
    );
    await store.set('abc', { n: 1 });
    await until(() => hit(store, 'abc') === 1);
    let n = 0;
    // Replies to other operations do not confirm the slots.
    await staysCached(store, 'abc', 5 * MAX_STALENESS_MS, () => store.set(`other-${n++ % 20}`, { n }));
  },
  LIMIT_MS,
);
