'use strict';

const { RedisStore } = require('../..');
const { startCluster } = require('../support/cluster.js');
const { startSentinel } = require('../support/sentinel.js');
const { closeAll, keepStore } = require('../support/stores.js');
const { HANG_MS, until } = require('../support/until.js');
const { load, logIn, numbersOf, userId } = require('./support.js');

const LIMIT_MS = 180_000;

let group;
afterEach(async () => {
  await closeAll();
  await group?.stop();
});

/** Logs users in, and checks that their sessions can be listed, and destroyed to the last. */
async function checkUsers(store, other, prefix) {
  const users = Array.from({ length: 20 }, (_, number) => `${prefix}-${number}`);
  await Promise.all(
    users.flatMap((user) =>
      [1, 2, 3].map((n) => logIn(n === 3 ? other : store, `${user}-${n}`, user, { n })),
    ),
  );
  for (const user of users) expect(await numbersOf(other, user)).toEqual([1, 2, 3]);
  const inProgress = await load(other, `${users[0]}-1`);
  for (const user of users) expect(await store.destroyAllOf(user, { except: `${user}-3` })).toBe(2);
  expect(await other.set(`${users[0]}-1`, inProgress)).toBe('discarded');
  for (const user of users) expect(await numbersOf(other, user)).toEqual([3]);
  return users;
}

describe.each([
  ['a cluster', {}],
  ['a cluster whose replicas serve reads', { readFrom: 'replica-preferred' }],
])('in %s', (_what, options) => {
  test(
    'indexes are complete, also after a failover and a slot migration',
    async () => {
      group = await startCluster();
      const cluster = { addresses: group.addresses.slice(0, 1) };
      const open = () =>
        keepStore(new RedisStore({ cluster, userId, commandTimeout: HANG_MS, maxSessionsOf: 3, ...options }));
      const [store, other] = [open(), open()];
      const users = await checkUsers(store, other, 'before');

      await group.failOver();
      for (const user of users) await until(async () => (await store.countOf(user)) === 1);
      await checkUsers(store, other, 'after');
      for (const user of users) expect(await store.destroyAllOf(user)).toBe(1);
      expect(await store.length()).toBe(20);
    },
    LIMIT_MS,
  );
});

test(
  'with Sentinel, indexes are complete after a failover',
  async () => {
    group = await startSentinel();
    const addresses = group.sentinels.map(({ port }) => `127.0.0.1:${port}`);
    const open = () =>
      keepStore(
        new RedisStore({
          sentinel: { name: group.name, addresses },
          userId,
          commandTimeout: HANG_MS,
          cache: true,
        }),
      );
    const [store, other] = [open(), open()];
    const users = await checkUsers(store, other, 'before');

    await group.failOver();
    for (const user of users) expect(await store.countOf(user)).toBe(1);
    await checkUsers(store, other, 'after');
    for (const user of users) expect(await store.destroyAllOf(user)).toBe(1);
  },
  LIMIT_MS,
);
