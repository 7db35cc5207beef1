'use strict';

const { RedisStore } = require('../..');
const { askOnce, startRedis } = require('../support/redis.js');
const { startCluster } = require('../support/cluster.js');
const { startSentinel } = require('../support/sentinel.js');
const { describeServers } = require('../support/servers.js');
const { liveSession } = require('../support/sessions.js');
const { closeAll, keepStore } = require('../support/stores.js');
const { until } = require('../support/until.js');

// The commands that the README says an ACL must allow are enough.

const LIMIT_MS = 60_000;
const COMMANDS = ['get', 'pttl', 'set', 'pexpire', 'del', 'scan', 'unlink'];
const OF_CONFLICTS = ['evalsha', 'eval'];
const OF_CONNECTIONS = ['hello', 'auth', 'select', 'ping', 'client|setname'];
const OF_CLUSTERS = ['cluster|slots', 'cluster|nodes', 'asking', 'readonly'];
const TRACKING = 'client|tracking';
const ACCOUNT = { username: 'app', password: 'of-the-app' };

let servers;
afterEach(async () => {
  await closeAll();
  await servers?.stop();
}, LIMIT_MS);

const allow = (server, username, commands) =>
  askOnce(
    ...[server, 'ACL', 'SETUSER', username, 'on', `>${ACCOUNT.password}`, '~sess:*', '-@all'],
    ...commands.map((command) => `+${command}`),
  );

/** Does all that a store can do. */
async function use(options) {
  const store = keepStore(new RedisStore({ ...ACCOUNT, commandTimeout: 2000, ...options }));
  const amiss = [];
  store.on('error', (error) => amiss.push(error.message));
  await store.set('abc', liveSession('abc', { n: 1 }));
  let session;
  // A replica may be behind.
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
  expect(amiss).toEqual([]);
}

const ways = [{}, { onConflict: 'reject' }, { cache: true }];

describeServers('%s', (_name, program) => {
  test('one server', async () => {
    servers = await startRedis({ program });
    const url = `redis://${ACCOUNT.username}:${ACCOUNT.password}@127.0.0.1:${servers.port}/1`;
    const plain = { username: undefined, password: undefined, url };
    await allow(servers, ACCOUNT.username, [...COMMANDS, ...OF_CONNECTIONS]);
    await use(plain);
    await allow(servers, ACCOUNT.username, OF_CONFLICTS.concat(COMMANDS, OF_CONNECTIONS));
    await use({ ...plain, onConflict: 'merge' });
    await allow(servers, ACCOUNT.username, [...COMMANDS, ...OF_CONNECTIONS, TRACKING]);
    await use({ ...plain, cache: true });
  });

  test(
    'a cluster',
    async () => {
      servers = await startCluster({ program, primaries: 1 });
      const commands = [...COMMANDS, ...OF_CONFLICTS, ...OF_CONNECTIONS, ...OF_CLUSTERS, TRACKING];
      for (const node of servers.nodes) await allow(node, ACCOUNT.username, commands);
      const cluster = servers.addresses;
      for (const way of [...ways, { readFrom: 'replica-preferred' }]) await use({ cluster, ...way });
    },
    LIMIT_MS,
  );

  test(
    'sentinels, and the server that they watch',
    async () => {
      servers = await startSentinel({ program, replicas: 0, sentinels: 1 });
      const [server] = servers.servers;
      const [sentinel] = servers.sentinels;
      const commands = [...COMMANDS, ...OF_CONFLICTS, ...OF_CONNECTIONS, 'role', TRACKING];
      await allow(server, ACCOUNT.username, commands);
      await allow(sentinel, 'asker', ['auth', 'sentinel|get-master-addr-by-name', 'sentinel|sentinels']);
      const { name, addresses } = servers;
      const asked = { name, addresses, username: 'asker', password: ACCOUNT.password };
      for (const way of ways) await use({ sentinel: asked, ...way });
    },
    LIMIT_MS,
  );
});
