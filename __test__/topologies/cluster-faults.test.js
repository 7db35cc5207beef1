'use strict';

const { RedisStore } = require('../..');
const { startCluster } = require('../support/cluster.js');
const { startProxy } = require('../support/proxy.js');
const { askOnce, connectRaw } = require('../support/redis.js');
const { closeAll, keepStore } = require('../support/stores.js');
const { NEVER_MS, until } = require('../support/until.js');

// Faults of a cluster other than the loss of a primary.

const HOST = '127.0.0.1';
const LIMIT_MS = 120_000;
const DEADLINE_MS = 3000;
/** Less than the 30 s between topology refreshes when nothing fails. */
const PATIENT_MS = 20_000;
const PARTLY = ['--cluster-require-full-coverage', 'no'];

let cluster;
afterEach(async () => {
  await closeAll();
  await cluster?.stop();
});

function openStore(options) {
  return keepStore(
    new RedisStore({
      cluster: cluster.addresses,
      password: cluster.password,
      commandTimeout: DEADLINE_MS,
      ...options,
    }),
  );
}

const ask = (node, ...command) => askOnce({ port: node.port, password: cluster.password }, ...command);

const failure = (promise) =>
  promise.then(
    () => {
      throw new Error('It did not fail.');
    },
    (error) => error,
  );

const slotOf = (id) => cluster.slotOf(`sess:${id}`);

/** Returns the id of a session that the node owns. */
async function idAt(node, name = 'id') {
  for (let n = 0; ; n++) {
    const id = `${name}-${n}`;
    if ((await cluster.ownerOf(await slotOf(id))) === node) return id;
  }
}

test(
  'operations on a slot that no node serves reject with the reason, and succeed as soon as a node serves it',
  async () => {
    cluster = await startCluster({ primaries: 3, replicas: 0, args: PARTLY });
    const slot = await slotOf('abc');
    const owner = await cluster.ownerOf(slot);
    for (const node of cluster.nodes) await ask(node, 'CLUSTER', 'DELSLOTS', slot);
    const store = openStore();
    await store.get(await idAt(owner));

    const answer = openStore({ commandTimeout: PATIENT_MS }).get('abc');
    expect(await failure(store.get('abc'))).toMatchObject({
      code: 'ERR_REDIS_UNAVAILABLE',
      message: expect.stringContaining(`no node serves the slot ${slot}`),
    });
    await ask(owner, 'CLUSTER', 'ADDSLOTS', slot);
    expect(await answer).toBeNull();
  },
  LIMIT_MS,
);

test(
  'a replica that has lost its primary is not read from',
  async () => {
    cluster = await startCluster({
      primaries: 1,
      password: 'of-the-nodes',
      args: ['--replica-serve-stale-data', 'no'],
    });
    const [primary, replica] = cluster.nodes;
    const gets = async (node) =>
      Number(/cmdstat_get:calls=(\d+)/.exec(String(await ask(node, 'INFO', 'commandstats')))?.[1] ?? 0);
    const store = openStore({ readFrom: 'replica-preferred' });
    await store.set('abc', { n: 1 });
    await until(async () => (await store.get('abc')) !== null && (await gets(replica)) > 0);

    await ask(replica, 'CONFIG', 'SET', 'masterauth', 'another');
    await ask(primary, 'CLIENT', 'KILL', 'TYPE', 'replica');
    await until(async () =>
      /master_link_status:down/.test(String(await ask(replica, 'INFO', 'replication'))),
    );
    const before = await gets(primary);
    for (let n = 0; n < 20; n++) expect(await store.get('abc')).toEqual({ n: 1 });
    expect((await gets(primary)) - before).toBe(20);
  },
  LIMIT_MS,
);

test(
  'an operation is retried with backoff when two nodes redirect it to each other',
  async () => {
    cluster = await startCluster({ primaries: 2, replicas: 0 });
    const slot = await slotOf('abc');
    const owner = await cluster.ownerOf(slot);
    const other = cluster.nodes.find((node) => node !== owner);
    const store = openStore();
    expect(await store.get('abc')).toBeNull();

    // The other node does not know of it.
    await ask(owner, 'CLUSTER', 'SETSLOT', slot, 'NODE', other.id);
    const { message } = await failure(store.get('abc'));
    expect(message).toContain('replied MOVED');
    expect(Number(/; (\d+) attempts; /.exec(message)[1])).toBeLessThan(200);
  },
  LIMIT_MS,
);

test(
  'operations on a slot succeed after its migration was aborted since the target node died',
  async () => {
    cluster = await startCluster({ primaries: 3, replicas: 0, args: PARTLY });
    const [source, target] = cluster.nodes;
    const id = await idAt(source);
    const slot = await slotOf(id);
    const store = openStore();
    expect(await store.get(id)).toBeNull();

    await ask(target, 'CLUSTER', 'SETSLOT', slot, 'IMPORTING', source.id);
    await ask(source, 'CLUSTER', 'SETSLOT', slot, 'MIGRATING', target.id);
    await target.kill();
    const answer = openStore({ commandTimeout: PATIENT_MS }).set(id, { n: 2 });
    expect(await failure(store.set(id, { n: 1 }))).toMatchObject({
      code: 'ERR_REDIS_UNAVAILABLE',
      message: expect.stringContaining(`${target.port}`),
    });
    await ask(source, 'CLUSTER', 'SETSLOT', slot, 'STABLE');
    expect(await answer).toBeNull();
  },
  LIMIT_MS,
);

test(
  'maxQueue bounds the commands that wait for a lost node, and operations on other nodes succeed',
  async () => {
    cluster = await startCluster({ primaries: 5, replicas: 0, args: PARTLY });
    const [one, two, healthy] = cluster.nodes;
    const ids = await Promise.all([one, two, healthy].map((node) => idAt(node)));
    const store = openStore({ maxQueue: 20 });
    await Promise.all(ids.map((id) => store.get(id)));
    await one.kill();
    await until(() => store.status === 'reconnecting');
    const waiting = failure(store.set(ids[0], { n: 1 }));
    await two.kill();

    const waits = Array.from({ length: 30 }, () => failure(store.set(ids[1], { n: 1 })));
    expect(await Promise.all(Array.from({ length: 30 }, () => store.set(ids[2], { n: 1 })))).toHaveLength(30);
    const errors = await Promise.all(waits);
    expect(errors.filter(({ code }) => code === 'ERR_REDIS_QUEUE_FULL')).toHaveLength(11);
    const last = errors.find(({ code }) => code === 'ERR_REDIS_UNAVAILABLE');
    expect(last.message).toContain(`${HOST}:${two.port};`);
    expect((await waiting).message).toContain(`${HOST}:${one.port};`);
  },
  LIMIT_MS,
);

test(
  'a node that has left the others is outvoted, although it is the nearest',
  async () => {
    cluster = await startCluster({ primaries: 3, replicas: 0 });
    const [leaver, successor, other] = cluster.nodes;
    const id = await idAt(leaver);
    const slots = Array.from({ length: 5462 }, (_, slot) => slot);
    for (const node of [successor, other]) {
      await ask(node, 'CLUSTER', 'FORGET', leaver.id);
      await ask(leaver, 'CLUSTER', 'FORGET', node.id);
    }
    await ask(successor, 'CLUSTER', 'ADDSLOTS', ...slots);
    for (const node of [successor, other])
      await until(async () => /cluster_state:ok/.test(String(await ask(node, 'CLUSTER', 'INFO'))));

    const far = await Promise.all([successor, other].map(({ port }) => startProxy(port)));
    try {
      for (const network of far) network.delay({ reply: 30 });
      const natMap = Object.fromEntries(
        [successor, other].map(({ port }, n) => [`${HOST}:${port}`, { host: HOST, port: far[n].port }]),
      );
      const addresses = [leaver, ...far].map(({ port }) => ({ host: HOST, port }));
      const store = openStore({ cluster: { addresses, natMap } });
      await store.set(id, { n: 1 });
      expect(await store.get(id)).toEqual({ n: 1 });
      await closeAll();
    } finally {
      await Promise.all(far.map((network) => network.close()));
    }
  },
  LIMIT_MS,
);

test(
  'the credentials function is called at each attempt to reach a lost node, and other nodes are not authenticated again',
  async () => {
    const password = 'of-the-nodes';
    cluster = await startCluster({ primaries: 3, replicas: 0, password });
    let calls = 0;
    const credentials = () => {
      calls++;
      return { password };
    };
    const store = openStore({ password: undefined, credentials });
    const [gone, healthy] = cluster.nodes;
    await until(async () => store.status === 'ready');
    expect(calls).toBeLessThanOrEqual(3);

    const authentications = async () => {
      const raw = await connectRaw(healthy.port);
      try {
        await raw.command('AUTH', password);
        const stats = String(await raw.command('INFO', 'commandstats'));
        return Number(/cmdstat_auth:calls=(\d+)/.exec(stats)[1]);
      } finally {
        await raw.close();
      }
    };
    await gone.kill();
    const [before, callsBefore] = [await authentications(), calls];
    await until(() => calls - callsBefore > 3);
    expect((await authentications()) - before).toBe(1);
  },
  LIMIT_MS,
);

test(
  'operations and scans reject with WRONGPASS at once when the password is wrong',
  async () => {
    cluster = await startCluster({ primaries: 3, replicas: 0, password: 'of-the-nodes' });
    const store = openStore({ password: 'another', commandTimeout: NEVER_MS });
    for (const method of ['get', 'ids', 'length', 'clear'])
      expect(await failure(store[method](...(method === 'get' ? ['abc'] : [])))).toMatchObject({
        code: 'ERR_REDIS_REPLY',
        reply: 'WRONGPASS',
      });
  },
  LIMIT_MS,
);
