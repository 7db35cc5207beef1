'use strict';

const { RedisStore: ConnectRedis } = require('connect-redis10');
const { useRedis } = require('../support/redis.js');
const { closeAll, openClient, openStore } = require('../support/stores.js');
const { fakeDate } = require('./clock.js');
const { runSequences } = require('./sequences.js');

const redis = useRedis();
let clock;
beforeEach(() => {
  clock = fakeDate();
});
afterEach(async () => {
  clock.restore();
  await closeAll();
});

const SECONDS = 0.4;
const COUNT = 1000;

const open = (source, options) => openStore(source, redis.port, { maxLifetime: SECONDS, ...options });

test.each([
  ['native', 1, () => [open('url')]],
  ['native with cache', 2, () => [open('url', { cache: true })]],
  ['client', 3, () => [open('redis6', { transport: 'client' })]],
  [
    'native with idleTimeout and onConflict',
    4,
    () => [open('url', { idleTimeout: 0.2, onConflict: 'merge' })],
  ],
])('random sequences with clock steps never pass a deadline, %s', async (_name, seed, openAll) => {
  await check(seed, openAll, clock);
});

test('random sequences on several stores never pass a deadline', async () => {
  const all = () => [open('url'), open('url', { cache: true }), open('redis6', { transport: 'client' })];
  await check(5, all, undefined);
});

async function check(seed, openAll, steppedClock) {
  const stores = await Promise.all(openAll());
  const legacy = new ConnectRedis({ client: await openClient('redis6', redis.port) });
  const { late, long, cookies, sequences, ended } = await runSequences({
    stores,
    legacy,
    command: redis.command,
    clock: steppedClock,
    maxLifetime: SECONDS * 1000,
    count: COUNT,
    seed: seed * 1_000_000,
  });
  expect({ late, long, cookies }).toEqual({ late: [], long: [], cookies: [] });
  expect(sequences).toBe(COUNT);
  expect(ended).toBeGreaterThan(COUNT / 10);
}
