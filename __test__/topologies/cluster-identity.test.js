'use strict';

const { RedisStore } = require('../..');
const { startCluster } = require('../support/cluster.js');
const { askOnce, connectRaw, startRedis } = require('../support/redis.js');
const { closeAll, keepStore } = require('../support/stores.js');
const { until } = require('../support/until.js');

// The identity of nodes when their address does not determine it.

const LIMIT_MS = 120_000;
const SLOTS = 16_384;
const HOST = '127.0.0.1';

const cleanUps = [];
const onEnd = (cleanUp) => cleanUps.unshift(cleanUp);
afterEach(async () => {
  await closeAll();
  for (const cleanUp of cleanUps.splice(0)) await cleanUp();
});

test(
  'a node that the others forgot, and that is known by two names, has one vote, and the higher epoch decides',
  async () => {
    const cluster = await startCluster({ primaries: 2, replicas: 0 });
    onEnd(() => cluster.stop());
    const [left, present] = cluster.nodes;
    await askOnce(left, 'CLUSTER', 'FORGET', present.id);
    await askOnce(present, 'CLUSTER', 'FORGET', left.id);
    // Each serves all slots now, on its own.
    for (const node of cluster.nodes) {
      const served = await askOnce(node, 'CLUSTER', 'SLOTS');
      const slots = new Set(Array(SLOTS).keys());
      for (const [first, last] of served) for (let slot = first; slot <= last; slot++) slots.delete(slot);
      if (slots.size > 0) await askOnce(node, 'CLUSTER', 'ADDSLOTS', ...slots);
    }
    for (const node of cluster.nodes)
      await until(async () => /cluster_state:ok/.test(String(await askOnce(node, 'CLUSTER', 'INFO'))));
    await askOnce(present, 'CLUSTER', 'BUMPEPOCH');
    const addresses = [
      { host: HOST, port: present.port },
      { host: 'localhost', port: left.port },
      { host: HOST, port: left.port },
    ];
    for (const order of [addresses, addresses.toReversed()]) {
      const store = keepStore(new RedisStore({ cluster: order }));
      for (let n = 0; n < 20; n++) await store.set(`id-${n}`, { n });
      await store.close();
    }
    expect(await askOnce(left, 'DBSIZE')).toBe(0);
    expect(await askOnce(present, 'DBSIZE')).toBe(20);
  },
  LIMIT_MS,
);

// On other systems, a machine has one loopback address.
const onLinux = process.platform === 'linux' ? test : test.skip;

onLinux(
  'a node without the host name by which nodes are named is not looked for on the host that answered',
  async () => {
    const args = ['--cluster-enabled', 'yes', '--cluster-config-file', 'nodes.conf'];
    const named = [...args, '--cluster-preferred-endpoint-type', 'hostname'];
    const source = await startRedis({ args: [...named, '--cluster-announce-ip', HOST] });
    onEnd(() => source.stop());
    const other = '127.0.0.2';
    const target = await startRedis({ args: [...named, '--bind', other, '--cluster-announce-ip', other] });
    onEnd(() => target.stop());
    // On the source's host, and part of no cluster.
    const foreign = await startRedis({ port: target.port });
    onEnd(() => foreign.stop());
    const [atSource, atTarget] = await Promise.all([
      connectRaw(source.port),
      connectRaw({ host: other, port: target.port }),
    ]);
    onEnd(() => Promise.all([atSource.close(), atTarget.close()]));
    const ok = async (raw, ...command) => expect(await raw.command(...command)).toBe('OK');

    const slot = await atSource.command('CLUSTER', 'KEYSLOT', 'sess:abc');
    const others = [...Array(SLOTS).keys()].filter((each) => each !== slot && each !== 0);
    await ok(atSource, 'CLUSTER', 'ADDSLOTS', slot, ...others);
    await ok(atTarget, 'CLUSTER', 'ADDSLOTS', 0);
    await ok(atTarget, 'CLUSTER', 'SET-CONFIG-EPOCH', 2);
    await ok(atSource, 'CLUSTER', 'MEET', other, target.port);
    for (const raw of [atSource, atTarget])
      await until(
        async () =>
          /cluster_state:ok/.test(String(await raw.command('CLUSTER', 'INFO'))) &&
          (await raw.command('CLUSTER', 'SLOTS')).length > 1,
      );
    const idOf = async (raw) => String(await raw.command('CLUSTER', 'MYID'));
    const [sourceId, targetId] = [await idOf(atSource), await idOf(atTarget)];
    const store = keepStore(new RedisStore({ cluster: [`${HOST}:${source.port}`] }));
    expect(await store.get('abc')).toBeNull();

    await ok(atTarget, 'CLUSTER', 'SETSLOT', slot, 'IMPORTING', sourceId);
    await ok(atSource, 'CLUSTER', 'SETSLOT', slot, 'MIGRATING', targetId);
    expect((await atSource.command('GET', 'sess:abc')).message).toBe(`ASK ${slot} ?:${target.port}`);
    await store.set('abc', { n: 1 });
    expect(await store.get('abc')).toEqual({ n: 1 });

    await ok(atTarget, 'CLUSTER', 'SETSLOT', slot, 'NODE', targetId);
    await ok(atSource, 'CLUSTER', 'SETSLOT', slot, 'NODE', targetId);
    expect((await atSource.command('GET', 'sess:abc')).message).toBe(`MOVED ${slot} ?:${target.port}`);
    await store.set('abc', { n: 2 });
    expect(await store.get('abc')).toEqual({ n: 2 });
    expect(JSON.parse(await atTarget.command('GET', 'sess:abc'))).toEqual({ n: 2 });
    expect(await askOnce(foreign, 'DBSIZE')).toBe(0);
  },
  LIMIT_MS,
);
