'use strict';

const { setTimeout: sleep } = require('node:timers/promises');
const { RedisStore } = require('../..');
const { startCluster } = require('../support/cluster.js');
const { startProxy } = require('../support/proxy.js');
const { askOnce } = require('../support/redis.js');
const { closeAll, keepStore } = require('../support/stores.js');
const { HANG_MS, until } = require('../support/until.js');

// Commands that wait for a node of a cluster cost no CPU time while they wait.

const HOST = '127.0.0.1';

let stops = [];
afterEach(async () => {
  await closeAll();
  await Promise.all(stops.map((stop) => stop()));
  stops = [];
});

/** Returns the share of a core that the process uses during `work`. */
async function share(work) {
  const [begin, before] = [performance.now(), process.cpuUsage()];
  await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000 / (performance.now() - begin);
}

test('a slot is retried after a transient error while an earlier command in it is still in flight, without CPU load', async () => {
  const cluster = await startCluster({ primaries: 1, replicas: 0 });
  const [{ port }] = cluster.nodes;
  const network = await startProxy(port);
  stops = [() => network.close(), () => cluster.stop()];
  const natMap = { [`${HOST}:${port}`]: { host: HOST, port: network.port } };
  const store = keepStore(
    new RedisStore({ cluster: { addresses: cluster.addresses, natMap }, commandTimeout: HANG_MS }),
  );
  expect(await store.get('{tag}first')).toBeNull();

  // Without one of its slots, a cluster serves none.
  const slot = (await cluster.slotOf('{tag}')) + 1;
  await askOnce({ port }, 'CLUSTER', 'DELSLOTS', slot);
  network.delay({ reply: 1000 });
  const first = store.get('{tag}first');
  await sleep(700);
  const second = store.get('{tag}second');
  // The first command fails with CLUSTERDOWN and may be retried after the backoff, but not before the second is
  // answered.
  await sleep(450);
  expect(await share(() => sleep(400))).toBeLessThan(0.5);
  await network.heal();
  await askOnce({ port }, 'CLUSTER', 'ADDSLOTS', slot);
  expect(await Promise.all([first, second])).toEqual([null, null]);
});

test('one operation of a slot is retried after a transient error, with growing backoff, while the others are parked', async () => {
  const cluster = await startCluster({ primaries: 1, replicas: 0 });
  stops = [() => cluster.stop()];
  const [{ port }] = cluster.nodes;
  const store = keepStore(new RedisStore({ cluster: cluster.addresses, commandTimeout: 3000 }));
  const ids = Array.from({ length: 200 }, (_, n) => `{tag}${n}`);
  await store.get(ids[0]);
  const slot = (await cluster.slotOf('{tag}')) + 1;
  await askOnce({ port }, 'CLUSTER', 'DELSLOTS', slot);

  const errors = await Promise.all(ids.map((id) => store.get(id).catch((error) => error)));
  for (const error of errors)
    expect(error).toMatchObject({
      code: 'ERR_REDIS_UNAVAILABLE',
      message: expect.stringContaining('replied CLUSTERDOWN'),
    });
  const stats = String(await askOnce({ port }, 'INFO', 'commandstats'));
  const tries = Number(/cmdstat_get:.*rejected_calls=(\d+)/.exec(stats)[1]);
  // Each was sent once at most, before the first reply arrived.
  expect(tries).toBeGreaterThan(3);
  expect(tries).toBeLessThan(ids.length + 30);

  const patient = keepStore(new RedisStore({ cluster: cluster.addresses, commandTimeout: HANG_MS }));
  const late = ids.map((id) => patient.get(id).catch((error) => error.message));
  await askOnce({ port }, 'CLUSTER', 'ADDSLOTS', slot);
  expect(new Set(await Promise.all(late))).toEqual(new Set([null]));
});

test('topology refreshes become rarer while a node remains lost', async () => {
  const cluster = await startCluster({ primaries: 3, replicas: 0 });
  stops = [() => cluster.stop()];
  const [gone, { port }] = cluster.nodes;
  const store = keepStore(new RedisStore({ cluster: cluster.addresses }));
  const ids = Array.from({ length: 10 }, (_, n) => `id-${n}`);
  await Promise.all(ids.map((id) => store.get(id)));
  const refreshes = async () => {
    const stats = String(await askOnce({ port }, 'INFO', 'commandstats'));
    return Number(/cmdstat_cluster(?:\|slots)?:calls=(\d+)/.exec(stats)?.[1]);
  };
  await gone.kill();
  const waiting = ids.map((id) => store.get(id).catch(() => {}));

  // Seven times per second at first; in the end, half a second or more passes without one.
  await until(async () => {
    const before = await refreshes();
    await sleep(400);
    return (await refreshes()) === before;
  });
  await Promise.all(waiting);
});

test('10,000 waiting operations cost little CPU time while others are called', async () => {
  const nowhere = { host: HOST, port: 1 };
  const store = keepStore(new RedisStore({ cluster: [nowhere] }));
  const codes = new Set();
  const waiting = Array.from({ length: 10_000 }, (_, n) =>
    store.get(`waiting-${n}`).catch(({ code }) => codes.add(code)),
  );
  const used = await share(async () => {
    for (let n = 0; n < 1000; n++) {
      waiting.push(store.get(`other-${n}`).catch(({ code }) => codes.add(code)));
      await sleep(1);
    }
  });
  expect(used).toBeLessThan(0.6);
  await Promise.all(waiting);
  expect([...codes]).toEqual(['ERR_REDIS_UNAVAILABLE']);
});
