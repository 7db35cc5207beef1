'use strict';

const { startCluster } = require('./cluster.js');

const LIMIT_MS = 120_000;
const KEYS = Array.from({ length: 100 }, (_, number) => `{one-slot}${number}`);

let cluster;
beforeAll(async () => {
  cluster = await startCluster({ password: 'of-nodes' });
});
afterAll(() => cluster?.stop());

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

test('startCluster starts three primaries that share the slots, each with a replica', async () => {
  const primaries = await cluster.primaries();

  expect(primaries).toEqual(cluster.nodes.slice(0, 3));
  expect(cluster.addresses).toHaveLength(6);
  const owners = await Promise.all(
    [0, 5_461, 5_462, 10_923, 10_924, 16_383].map((slot) => cluster.ownerOf(slot)),
  );
  expect(owners).toEqual([0, 0, 1, 1, 2, 2].map((index) => primaries[index]));
  expect(await cluster.everywhere('WAIT', 1, 60_000)).toEqual([1, 1, 1]);
});

test(
  'moveSlots moves a slot with its keys, also to a node that joins and leaves',
  async () => {
    for (const key of KEYS) await cluster.command(key, 'SET', key, 'kept');
    const slot = await cluster.slotOf(KEYS[0]);
    const source = await cluster.ownerOf(slot);

    const added = await cluster.addPrimary();
    const replica = await cluster.addReplica(added);
    await cluster.moveSlots([slot], added);
    expect(await cluster.ownerOf(slot)).toBe(added);
    expect(await cluster.primaries()).toContain(added);
    expect(await cluster.command(KEYS[0], 'DBSIZE')).toBe(KEYS.length);

    await cluster.moveSlots([slot], source);
    await cluster.remove(replica);
    await cluster.remove(added);
    expect(cluster.nodes).toHaveLength(6);
    expect(await cluster.ownerOf(slot)).toBe(source);
    expect(sum(await cluster.everywhere('DBSIZE'))).toBe(KEYS.length);
  },
  LIMIT_MS,
);

test(
  'failOver replaces a primary by its replica, and rejoin restarts it as a replica',
  async () => {
    await cluster.command('abc', 'SET', 'abc', 'kept');
    await cluster.command('abc', 'WAIT', 1, 60_000);
    const former = await cluster.ownerOf(await cluster.slotOf('abc'));

    const successor = await cluster.failOver(former);

    expect(successor).not.toBe(former);
    expect(await cluster.ownerOf(await cluster.slotOf('abc'))).toBe(successor);
    expect(String(await cluster.command('abc', 'GET', 'abc'))).toBe('kept');

    await cluster.rejoin(former);
    expect(await cluster.primaries()).not.toContain(former);
  },
  LIMIT_MS,
);
