'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { RedisStore } = require('../..');
const { askOnce, startRedis } = require('../support/redis.js');
const { startCluster } = require('../support/cluster.js');
const { startSentinel } = require('../support/sentinel.js');
const { describeServers } = require('../support/servers.js');
const { liveSession } = require('../support/sessions.js');
const { closeAll, keepStore } = require('../support/stores.js');
const { HANG_MS, until } = require('../support/until.js');

// The rights that docs/recipes.md lists are sufficient, and nothing else is requested.

const LIMIT_MS = 120_000;
const ACCOUNT = { username: 'app', password: 'of-the-app' };
/**
 * Commands that a store sends but can do without: to show its name in lists of connections, and to learn the run ID of
 * the server under a scan. Redis 6.2 does not log which subcommand it was.
 */
const DISPENSABLE = ['client|setinfo', 'client', 'info'];

const RECIPES = fs.readFileSync(path.join(__dirname, '..', '..', 'docs', 'recipes.md'), 'utf8');
/** Returns the rights in the text between `start` and `end` there. */
const rights = (start, end) => {
  const from = RECIPES.indexOf(start);
  return RECIPES.slice(from, RECIPES.indexOf(end, from)).match(/(?<=[ `])\+[a-z|-]+/g);
};
const COMMANDS = rights('ACL SETUSER app on >password ~sess:*', 'In addition:');
const OF_CONFLICTS = rights('- with `onConflict`', '- with `cache`');
const OF_CACHE = rights('- with `cache`', '- in a cluster');
const OF_CLUSTERS = rights('- in a cluster', '- with sentinels');
const OF_WATCHED = rights('- with sentinels', 'of the sentinels themselves');
const OF_SENTINELS = rights('of the sentinels themselves', '\n\n');

let servers;
afterEach(async () => {
  await closeAll();
  await servers?.stop();
});

const allow = (server, username, granted) =>
  askOnce(
    ...[server, 'ACL', 'SETUSER', username, 'on', `>${ACCOUNT.password}`, '~sess:*', '-@all'],
    ...granted,
  );

/** Returns what a server has denied for lack of rights. */
async function denied(server) {
  const entries = await askOnce(server, 'ACL', 'LOG');
  const objects = entries.map((entry) =>
    String(entry[entry.findIndex((key) => String(key) === 'object') + 1]),
  );
  return objects.filter((object) => !DISPENSABLE.includes(object));
}

/** Uses everything that a store can do. */
async function use(options) {
  const store = keepStore(new RedisStore({ ...ACCOUNT, commandTimeout: HANG_MS, ...options }));
  const errors = [];
  store.on('error', (error) => errors.push(error.message));
  await store.set('abc', liveSession('abc', { n: 1 }));
  let session;
  // A replica may lag behind.
  await until(async () => {
    session = await store.get('abc');
    return session !== null;
  });
  session.n = 2;
  await store.set('abc', session);
  await store.touch('abc', session);
  expect(await store.all()).toMatchObject([{ n: 2 }]);
  expect(await store.ids()).toEqual(['abc']);
  expect(await store.length()).toBe(1);
  await store.destroy('abc');
  await store.clear();
  expect(errors).toEqual([]);
}

const ways = [{}, { onConflict: 'reject' }, { cache: true }];

describeServers('%s', (_name, program) => {
  test('the documented rights suffice for one server', async () => {
    servers = await startRedis({ program });
    const url = `redis://${ACCOUNT.username}:${ACCOUNT.password}@127.0.0.1:${servers.port}/1`;
    const plain = { username: undefined, password: undefined, url };
    await allow(servers, ACCOUNT.username, COMMANDS);
    await use(plain);
    await allow(servers, ACCOUNT.username, [...COMMANDS, ...OF_CONFLICTS]);
    await use({ ...plain, onConflict: 'merge' });
    await allow(servers, ACCOUNT.username, [...COMMANDS, ...OF_CACHE]);
    await use({ ...plain, cache: true });
    expect(await denied(servers)).toEqual([]);
  });

  test('the documented rights without scans and connection name suffice for the other operations on one server', async () => {
    servers = await startRedis({ program });
    const dispensable = ['+scan', '+unlink', '+client|setname'];
    await allow(
      servers,
      ACCOUNT.username,
      COMMANDS.filter((right) => !dispensable.includes(right)),
    );
    const url = `redis://${ACCOUNT.username}:${ACCOUNT.password}@127.0.0.1:${servers.port}`;
    const store = keepStore(new RedisStore({ url }));
    const errors = [];
    store.on('error', (error) => errors.push(error.message));
    await store.set('abc', liveSession('abc', { n: 1 }));
    const session = await store.get('abc');
    await store.touch('abc', session);
    expect(session.n).toBe(1);
    await store.destroy('abc');
    expect(await store.get('abc')).toBeNull();
    expect(errors).toEqual([]);
    for (const listing of ['ids', 'clear'])
      await expect(store[listing]()).rejects.toMatchObject({ code: 'ERR_REDIS_REPLY', reply: 'NOPERM' });
  });

  test(
    'the documented rights suffice for a cluster',
    async () => {
      servers = await startCluster({ program, primaries: 1 });
      const granted = [...COMMANDS, ...OF_CONFLICTS, ...OF_CACHE, ...OF_CLUSTERS];
      for (const node of servers.nodes) await allow(node, ACCOUNT.username, granted);
      const cluster = servers.addresses;
      for (const way of [...ways, { readFrom: 'replica-preferred' }]) await use({ cluster, ...way });
      for (const node of servers.nodes) expect(await denied(node)).toEqual([]);
    },
    LIMIT_MS,
  );

  test(
    'the documented rights suffice for sentinels and the server that they monitor',
    async () => {
      servers = await startSentinel({ program, replicas: 0, sentinels: 1 });
      const [server] = servers.servers;
      const [sentinel] = servers.sentinels;
      await allow(server, ACCOUNT.username, [...COMMANDS, ...OF_CONFLICTS, ...OF_CACHE, ...OF_WATCHED]);
      await allow(sentinel, 'discovery', OF_SENTINELS);
      const { name, addresses } = servers;
      const group = { name, addresses, username: 'discovery', password: ACCOUNT.password };
      for (const way of ways) await use({ sentinel: group, ...way });
      for (const node of [server, sentinel]) expect(await denied(node)).toEqual([]);
    },
    LIMIT_MS,
  );
});
