'use strict';

const Redis = require('ioredis');
const redis6 = require('redis');
const { RedisStore } = require('../..');
const { Certificates } = require('../support/certificates.js');
const { askOnce, startRedis } = require('../support/redis.js');
const { closeAll, keepStore } = require('../support/stores.js');
const { until } = require('../support/until.js');

// Sentinels, the primary that they monitor, and the nodes of a cluster, by TLS only: the port that they announce is the
// one with TLS.

const password = 'of-the-servers';

let certificates;
let tls;
const servers = [];

beforeAll(() => {
  certificates = new Certificates();
  certificates.makeAuthority('ca');
  certificates.makeCertificate('server', 'IP:127.0.0.1,DNS:redis.example');
  tls = { ca: certificates.pem('ca.crt') };
});
afterEach(closeAll);
afterAll(async () => {
  await Promise.all(servers.map((server) => server.stop()));
  certificates?.remove();
});

/** Starts a server with TLS on its `tlsPort`; the other port is for the test. */
async function start(options) {
  const server = await startRedis({ tls: certificates.ofServer('server'), ...options });
  servers.push(server);
  return server;
}

const place = ({ tlsPort: port }) => ({ host: '127.0.0.1', port });

async function serves(options, transport = 'native') {
  const store = keepStore(new RedisStore(options));
  expect(store.transport).toBe(transport);
  const ids = Array.from({ length: 10 }, (_, n) => `id-${n}`);
  await Promise.all(ids.map((id, n) => store.set(id, { n })));
  expect(await store.get('id-7')).toEqual({ n: 7 });
  expect((await store.ids()).sort()).toEqual(ids);
  await store.clear();
  expect(await store.length()).toBe(0);
}

/** Runs `check` with an ioredis client for one store. */
async function withIoredis(client, check) {
  try {
    await check(client.on('error', () => {}));
  } finally {
    await closeAll();
    client.disconnect();
  }
}

describe('sentinels', () => {
  const name = 'sessions';
  let sentinel;
  beforeAll(async () => {
    const primary = await start({ args: ['--requirepass', password] });
    sentinel = await start({
      config: `sentinel monitor ${name} 127.0.0.1 ${primary.tlsPort} 1\nsentinel auth-pass ${name} ${password}\n`,
      args: ['--sentinel', '--tls-replication', 'yes'],
    });
  });

  test('a store connects to sentinels with their own TLS settings', () =>
    serves({ sentinel: { name, addresses: [place(sentinel)], tls }, password, tls }));

  test('a store connects to sentinels without TLS by a URL whose "rediss" refers to the servers', () =>
    serves({ url: `rediss+sentinel://:${password}@127.0.0.1:${sentinel.port}/${name}`, tls }));

  test.each(['native', 'client'])(
    'a store connects with the TLS settings of an ioredis client of sentinels (transport: %s)',
    (transport) =>
      withIoredis(
        new Redis({
          ...{ name, sentinels: [place(sentinel)], password, lazyConnect: true },
          ...{ tls, sentinelTLS: tls, enableTLSForSentinelMode: true },
        }),
        (client) => serves({ client, transport }, transport),
      ),
  );
});

describe('a cluster', () => {
  let nodes;
  beforeAll(async () => {
    const args = ['--cluster-enabled', 'yes', '--tls-cluster', 'yes', '--requirepass', password];
    nodes = await Promise.all([start({ args }), start({ args })]);
    const ask = (node, ...words) => askOnce({ port: node.port, password }, 'CLUSTER', ...words);
    for (const [index, node] of nodes.entries())
      await ask(node, 'ADDSLOTS', ...Array.from({ length: 8192 }, (_, slot) => index * 8192 + slot));
    await ask(nodes[0], 'MEET', '127.0.0.1', nodes[1].tlsPort);
    for (const node of nodes)
      await until(async () => String(await ask(node, 'INFO')).includes('cluster_state:ok'));
  });

  test('a store connects to a cluster with TLS by a URL', () =>
    serves({ url: `rediss+cluster://:${password}@127.0.0.1:${nodes[0].tlsPort}`, tls }));

  test('a store verifies the nodes of a cluster by the configured servername instead of their announced names', async () => {
    const url = `rediss+cluster://:${password}@127.0.0.1:${nodes[0].tlsPort}`;
    const known = (servername) => ({ url, tls: { ...tls, servername } });
    await serves(known('redis.example'));
    const store = keepStore(new RedisStore({ ...known('other.example'), commandTimeout: 2000 }));
    await expect(store.get('abc')).rejects.toMatchObject({
      code: 'ERR_REDIS_UNAVAILABLE',
      message: expect.stringMatching(/not valid for the host/),
    });
  });

  test('a store connects with the TLS settings of an ioredis cluster client', () =>
    withIoredis(
      new Redis.Cluster([place(nodes[0])], { redisOptions: { password, tls }, lazyConnect: true }),
      (client) => serves({ client }),
    ));

  test('a store connects with the TLS settings of a redis cluster client', () =>
    serves({
      client: redis6.createCluster({
        rootNodes: [{ url: `rediss://127.0.0.1:${nodes[0].tlsPort}` }],
        defaults: { password, socket: tls },
      }),
    }));
});
