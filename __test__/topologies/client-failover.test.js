'use strict';

const { RedisStore } = require('../..');
const { clients } = require('../support/clients.js');
const { startCluster } = require('../support/cluster.js');
const { startSentinel } = require('../support/sentinel.js');
const { closeAll, keepStore } = require('../support/stores.js');
const { DEADLINE_MS, LIMIT_MS, throughChange } = require('./failover.js');

// Another server takes a primary's place, and the app's client has to follow it. No operation fails, none is late, lost
// or out of order.

const PASSWORDS = { password: 'of-the-servers', sentinelPassword: 'of-the-sentinels' };

let servers;
afterEach(() => servers?.stop());

async function through(name, topology, place, read, change) {
  const { make, connect, end } = clients[name];
  const client = await make[topology](place);
  await connect(client);
  try {
    const store = keepStore(new RedisStore({ client, transport: 'client', commandTimeout: DEADLINE_MS }));
    await throughChange(store, `${name}, ${topology}`, read, change);
  } finally {
    await closeAll();
    await end(client);
  }
}

const sentinels = async () => {
  servers = await startSentinel(PASSWORDS);
  return { name: servers.name, places: servers.addresses, ...PASSWORDS };
};

test.each(['redis 6', 'ioredis 6'])(
  'operations on a client succeed after the primary of a Sentinel group died under %s',
  async (name) => {
    const place = await sentinels();
    await through(
      ...[name, 'sentinel', place],
      (key) => servers.command('GET', key),
      () => servers.failOver(),
    );
  },
  LIMIT_MS,
);

// ioredis does not notice.
test(
  'operations on a client succeed after the primary of a Sentinel group hung under redis 6',
  async () => {
    const place = await sentinels();
    await through(
      ...['redis 6', 'sentinel', place],
      (key) => servers.command('GET', key),
      async () => {
        const former = await servers.primary();
        former.pause();
        await servers.promoted(former);
      },
    );
  },
  LIMIT_MS,
);

// redis 4 and 5 do not follow.
test.each(['redis 6', 'ioredis 6', 'valkey-glide 2'])(
  'operations on a client succeed after the primary of a cluster died under %s',
  async (name) => {
    servers = await startCluster({ password: PASSWORDS.password });
    const place = { places: servers.addresses, password: servers.password };
    await through(
      ...[name, 'cluster', place],
      (key) => servers.command(key, 'GET', key),
      () => servers.failOver(),
    );
  },
  LIMIT_MS,
);
