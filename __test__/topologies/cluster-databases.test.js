'use strict';

const { RedisStore } = require('../..');
const { clients } = require('../support/clients.js');
const { findServers } = require('../../scripts/servers.js');
const { startCluster } = require('../support/cluster.js');
const { connectRaw, startRedis } = require('../support/redis.js');
const { closeAll, keepStore } = require('../support/stores.js');
const { NEVER_MS } = require('../support/until.js');

// Valkey 9 has several databases in a cluster; other servers reject them.

const LIMIT_MS = 120_000;
const DATABASE = 2;

const cleanUps = [];
const onEnd = (cleanUp) => cleanUps.unshift(cleanUp);
afterEach(async () => {
  await closeAll();
  for (const cleanUp of cleanUps.splice(0)) await cleanUp();
});

/** A cluster client as an option, connected or not. */
function byClient(name, options) {
  return async (cluster) => {
    const { make, end } = clients[name];
    const client = make.cluster({ places: cluster.addresses }, options);
    client.on?.('error', () => {});
    onEnd(() => end(client));
    return { client };
  };
}

const url = ({ addresses }) =>
  `redis+cluster://${addresses.map(({ host, port }) => `${host}:${port}`).join()}/${DATABASE}`;

const sources = {
  'the option "database"': (cluster) => ({ cluster: cluster.addresses, database: DATABASE }),
  'a URL': (cluster) => ({ url: url(cluster) }),
  'a cluster client of redis': byClient('redis 6', { defaults: { database: DATABASE } }),
  'a cluster client of ioredis': async (cluster) => {
    const { Cluster } = require('ioredis');
    const client = new Cluster(cluster.addresses, {
      redisOptions: { db: DATABASE },
      lazyConnect: true,
    });
    onEnd(() => client.disconnect());
    return { client };
  },
};

const valkey = findServers().find(({ name }) => name === 'Valkey 9');
const onValkey = valkey.program === null ? describe.skip : describe;

onValkey('a cluster of Valkey 9', () => {
  test.each(Object.keys(sources))(
    'sessions are stored in the database that %s selects',
    async (source) => {
      const cluster = await startCluster({
        program: valkey.program,
        primaries: 2,
        replicas: 0,
        args: ['--cluster-databases', '4'],
      });
      onEnd(() => cluster.stop());
      const store = keepStore(new RedisStore(await sources[source](cluster)));
      const ids = Array.from({ length: 20 }, (_, n) => `id-${n}`);
      for (const id of ids) await store.set(id, { n: 1 });
      expect((await store.ids()).sort()).toEqual(ids.toSorted());
      expect(await store.get('id-7')).toEqual({ n: 1 });

      const counts = [0, 0, 0];
      for (const { port } of cluster.nodes) {
        const raw = await connectRaw(port);
        for (const database of counts.keys()) {
          expect(await raw.command('SELECT', database)).toBe('OK');
          counts[database] += await raw.command('DBSIZE');
        }
        await raw.close();
      }
      expect(counts).toEqual([0, 0, 20]);
    },
    LIMIT_MS,
  );
});

test('operations reject at once with the name of the database when the cluster has none', async () => {
  const server = await startRedis({
    args: ['--cluster-enabled', 'yes', '--cluster-config-file', 'nodes.conf'],
  });
  onEnd(() => server.stop());
  const address = { host: '127.0.0.1', port: server.port };
  const store = keepStore(new RedisStore({ url: url({ addresses: [address] }), commandTimeout: NEVER_MS }));
  await expect(store.get('abc')).rejects.toMatchObject({
    code: 'ERR_REDIS_REPLY',
    message: expect.stringMatching(/SELECT is not allowed in cluster mode/),
  });
});
