'use strict';

const dns = require('node:dns');
const { GlideClient, GlideClusterClient, NodeDiscoveryMode } = require('@valkey/valkey-glide');
const Mock = require('ioredis-mock');
const { describeClient } = require('../../lib/clients/description.js');

const packages = {
  redis4: require('redis4'),
  redis5: require('redis5'),
  redis6: require('redis'),
  ioredis4: require('ioredis4'),
  ioredis5: require('ioredis5'),
  ioredis6: require('ioredis'),
  iovalkey: require('iovalkey'),
};
const redisKinds = ['redis4', 'redis5', 'redis6'];
const laterRedisKinds = ['redis5', 'redis6'];
const ioredisKinds = ['ioredis4', 'ioredis5', 'ioredis6', 'iovalkey'];

/** Returns the description of a client, without undefined fields. */
function described(client) {
  return JSON.parse(JSON.stringify(describeClient(client)));
}

const viaClient = (command, reason) => ({
  transport: 'client',
  command,
  reason: expect.stringMatching(reason),
});

describe.each(redisKinds)('%s', (kind) => {
  const { createClient, createCluster } = packages[kind];
  const native = { transport: 'native', command: 'sendCommand(args)', topology: 'standalone' };

  test.each([
    ['without options', () => createClient(), { nodes: [{ host: 'localhost', port: 6379 }], database: 0 }],
    [
      'by a URL',
      () => createClient({ url: 'redis://ann:p%40ss@h:7000/3' }),
      { nodes: [{ host: 'h', port: 7000 }], database: 3, username: 'ann', password: 'p@ss' },
    ],
    [
      'by a socket file',
      () => createClient({ socket: { path: '/run/redis.sock' } }),
      { nodes: [{ path: '/run/redis.sock' }], database: 0 },
    ],
    [
      'with TLS',
      () =>
        createClient({
          socket: { host: 'h', tls: true, ca: 'CA', servername: 'name', rejectUnauthorized: false },
        }),
      {
        nodes: [{ host: 'h', port: 6379 }],
        database: 0,
        tls: { ca: 'CA', servername: 'name', rejectUnauthorized: false },
      },
    ],
    [
      'with a time limit',
      () => createClient({ socket: { connectTimeout: 1500 } }),
      { nodes: [{ host: 'localhost', port: 6379 }], database: 0, connectTimeout: 1500 },
    ],
  ])('a client %s is described as native', (_how, make, expected) => {
    const { credentials, ...found } = described(make());
    expect(found).toEqual({ ...native, ...expected });
  });

  test.each([
    ['checkServerIdentity', { tls: true, checkServerIdentity() {} }],
    ['passphrase', { tls: true, key: 'KEY', passphrase: 'secret' }],
    ['"key" is more than PEM', { tls: true, key: [{ pem: 'KEY', passphrase: 'secret' }] }],
    ['lookup', { lookup: dns.lookup }],
    ['localAddress', { localAddress: '127.0.0.1' }],
    ['localAddress', { tls: true, localAddress: '127.0.0.1' }],
  ])(
    'a client with a setting that cannot be carried over is described with the client transport: %s',
    (reason, socket) => {
      expect(described(createClient({ socket }))).toEqual(viaClient('sendCommand(args)', reason));
    },
  );

  test('a transaction is not accepted as a client', () => {
    expect(() => describeClient(createClient().multi())).toThrow(TypeError);
  });

  test('a cluster is described with its nodes, credentials and nodeAddressMap', () => {
    const cluster = createCluster({
      rootNodes: [{ url: 'rediss://h1:7001' }, { socket: { host: 'h2', port: 7002 } }],
      defaults: { username: 'ann', password: 'secret', socket: { ca: 'CA', connectTimeout: 1500 } },
      nodeAddressMap: { '10.0.0.1:6379': { host: 'h3', port: 7003 } },
    });
    const command = 'sendCommand(key, isReadonly, args)';
    if (kind === 'redis4') {
      expect(described(cluster)).toEqual(viaClient(command, 'cluster of redis 4'));
      return;
    }
    expect(described(cluster)).toEqual({
      transport: 'native',
      command,
      topology: 'cluster',
      nodes: [
        { host: 'h1', port: 7001 },
        { host: 'h2', port: 7002 },
      ],
      natMap: { '10.0.0.1:6379': { host: 'h3', port: 7003 } },
      database: 0,
      username: 'ann',
      password: 'secret',
      tls: { ca: 'CA' },
      connectTimeout: 1500,
    });
  });
});

describe.each(laterRedisKinds)('%s', (kind) => {
  const { createClient, createClientPool, createCluster, createSentinel } = packages[kind];

  test("a cluster is described with the password in a root node's URL", () => {
    const cluster = createCluster({ rootNodes: [{ url: 'redis://h1' }, { url: 'redis://:secret@h2' }] });
    expect(described(cluster)).toMatchObject({ topology: 'cluster', password: 'secret' });
  });

  test('a cluster is described with an empty password when its user has none, which HELLO does not send', () => {
    const found = (options) =>
      described(
        createCluster({ rootNodes: [{ url: 'redis://h' }], defaults: { username: 'ann' }, ...options }),
      );
    const ann = { username: 'ann', password: '' };
    expect(found({ RESP: 3 })).not.toHaveProperty('username');
    expect(found({ RESP: kind === 'redis5' ? undefined : 2 })).toMatchObject(ann);
    expect(found({ RESP: kind === 'redis5' ? 2 : undefined })).not.toHaveProperty('username');
  });

  test('a cluster whose nodeAddressMap is a function is described with the client transport', () => {
    const cluster = createCluster({ rootNodes: [{ url: 'redis://h' }], nodeAddressMap: () => undefined });
    expect(described(cluster)).toEqual(viaClient('sendCommand(key, isReadonly, args)', 'nodeAddressMap'));
  });

  test('a sentinel is described with the client transport', () => {
    const sentinel = createSentinel({ name: 'sessions', sentinelRootNodes: [{ host: 'h', port: 26379 }] });
    expect(described(sentinel)).toEqual(viaClient('sendCommand(isReadonly, args)', 'sentinel'));
  });

  test('a pool is described with the client transport', () => {
    expect(described(createClientPool())).toEqual(viaClient('sendCommand(args)', 'pool'));
  });

  test('a client is described with the timeout of its commandOptions', () => {
    expect(described(createClient({ commandOptions: { timeout: 700 } }))).toMatchObject({
      commandTimeout: 700,
    });
  });

  test('the legacy interface of a client is not accepted as a client', () => {
    expect(() => describeClient(createClient().legacy())).toThrow(TypeError);
  });

  describe('a credentialsProvider', () => {
    const asynchronous = (credentials) => ({ type: 'async-credentials-provider', credentials });

    test('a credentialsProvider is called for each request of credentials', async () => {
      let asked = 0;
      const credentialsProvider = asynchronous(async () => ({
        username: 'ann',
        password: `secret-${++asked}`,
      }));
      const { credentials, password } = describeClient(createClient({ credentialsProvider }));

      expect(password).toBeUndefined();
      expect(await credentials()).toEqual({ username: 'ann', password: 'secret-1' });
      expect(await credentials()).toEqual({ username: 'ann', password: 'secret-2' });
    });

    test('a streaming credentialsProvider returns its current credentials and is unsubscribed from', async () => {
      const listeners = new Set();
      const credentialsProvider = {
        type: 'streaming-credentials-provider',
        async subscribe(listener) {
          listeners.add(listener);
          return [{ username: 'ann', password: 'secret' }, { dispose: () => listeners.delete(listener) }];
        },
        onReAuthenticationError() {},
      };
      const { credentials } = describeClient(createClient({ credentialsProvider }));

      expect(await credentials()).toEqual({ username: 'ann', password: 'secret' });
      expect(listeners.size).toBe(0);
    });

    test('a streaming credentialsProvider takes precedence over a user without a password', () => {
      const credentialsProvider = {
        type: 'streaming-credentials-provider',
        subscribe: async () => [{ username: 'ann', password: 'secret' }, { dispose() {} }],
        onReAuthenticationError() {},
      };
      const found = describeClient(createClient({ username: 'bob', credentialsProvider }));
      expect(found).not.toHaveProperty('username');
      expect(found.renewals).toBe(credentialsProvider);
    });

    test('a credentialsProvider shared by two clients is one function, so that stores share a connection', () => {
      const options = { credentialsProvider: asynchronous(async () => ({ password: 'secret' })) };
      const functions = [1, 2].map(() => describeClient(createClient(options)).credentials);
      expect(functions[0]).toBe(functions[1]);
    });

    test('a credentialsProvider of a cluster is used', async () => {
      const cluster = createCluster({
        rootNodes: [{ url: 'redis://h' }],
        defaults: { credentialsProvider: asynchronous(async () => ({ password: 'secret' })) },
      });
      expect(await describeClient(cluster).credentials()).toEqual({ password: 'secret' });
    });

    test('a credentialsProvider is ignored when there is a password', () => {
      expect(describeClient(createClient({ password: 'secret' })).credentials).toBeUndefined();
    });
  });
});

test('a client and a cluster of redis 6 are described with their keyPrefix', () => {
  const { createClient, createCluster } = packages.redis6;
  expect(described(createClient({ keyPrefix: 'app:' }))).toMatchObject({ keyPrefix: 'app:' });
  const cluster = createCluster({ rootNodes: [{ url: 'redis://h' }], keyPrefix: 'app:' });
  expect(described(cluster)).toMatchObject({ keyPrefix: 'app:' });
});

describe.each(ioredisKinds)('%s', (kind) => {
  const Redis = packages[kind];
  const make = (...args) => new Redis(...args, { lazyConnect: true });
  const command = 'call(command, ...args)';
  const native = { transport: 'native', command, topology: 'standalone', database: 0 };

  test.each([
    ['without options', () => make(), { nodes: [{ host: 'localhost', port: 6379 }] }],
    [
      'by a URL',
      () => make('redis://:p%40ss@h:7000/3'),
      { nodes: [{ host: 'h', port: 7000 }], database: 3, password: 'p@ss' },
    ],
    [
      'by a socket file, which wins over a host',
      () => make({ path: '/run/redis.sock', host: 'h' }),
      { nodes: [{ path: '/run/redis.sock' }] },
    ],
    [
      'with everything',
      () =>
        make({
          ...{ host: 'h', username: 'ann', password: 'secret', keyPrefix: 'app:' },
          ...{
            tls: { ca: ['CA1', 'CA2'], cert: 'CERT', key: 'KEY' },
            connectTimeout: 1500,
            commandTimeout: 700,
          },
        }),
      {
        nodes: [{ host: 'h', port: 6379 }],
        ...{ username: 'ann', password: 'secret', keyPrefix: 'app:' },
        ...{
          tls: { ca: ['CA1', 'CA2'], cert: 'CERT', key: 'KEY' },
          connectTimeout: 1500,
          commandTimeout: 700,
        },
      },
    ],
  ])('a client %s is described as native', (_how, client, expected) => {
    expect(described(client())).toEqual({ ...native, ...expected });
  });

  test('a client with a rediss: URL is described with TLS', () => {
    expect(described(make('rediss://h'))).toEqual({
      ...native,
      nodes: [{ host: 'h', port: 6379 }],
      tls: {},
    });
  });

  test.each([
    ['checkServerIdentity', { tls: { checkServerIdentity() {} } }],
    ['Connector', { Connector: class {} }],
  ])(
    'a client with a setting that cannot be carried over is described with the client transport: %s',
    (reason, options) => {
      const client = make();
      Object.assign(client.options, options);
      expect(described(client)).toEqual(viaClient(command, reason));
    },
  );

  test('a client of a Sentinel group is described with its sentinels and their credentials', () => {
    const client = make({
      sentinels: [{ host: 's1' }, { host: 's2', port: 26380 }],
      ...{ name: 'sessions', role: 'slave', db: 2, username: 'ann', password: 'secret' },
      ...{ sentinelUsername: 'bob', sentinelPassword: 'other', sentinelTLS: { ca: 'CA1' } },
      ...{ enableTLSForSentinelMode: true, tls: { ca: 'CA2' } },
      natMap: { '10.0.0.1:6379': { host: 'h3', port: '7003' } },
    });
    expect(described(client)).toEqual({
      ...native,
      topology: 'sentinel',
      sentinel: {
        name: 'sessions',
        nodes: [
          { host: 's1', port: 26379 },
          { host: 's2', port: 26380 },
        ],
        ...{ username: 'bob', password: 'other', tls: { ca: 'CA1' } },
      },
      natMap: { '10.0.0.1:6379': { host: 'h3', port: 7003 } },
      ...{ database: 2, username: 'ann', password: 'secret', tls: { ca: 'CA2' } },
    });
  });

  test('a client of a Sentinel group is described with TLS only where it was enabled', () => {
    const client = make({ sentinels: [{ host: 's1' }], name: 'sessions', tls: {} });
    expect(described(client).tls).toBeUndefined();
  });

  test('a client of a Sentinel group whose natMap is a function is described with the client transport', () => {
    const client = make({ sentinels: [{ host: 's1' }], name: 'sessions' });
    client.options.natMap = () => null;
    expect(described(client)).toEqual(viaClient(command, 'natMap'));
  });

  describe('a cluster', () => {
    const cluster = (nodes, options) => new Redis.Cluster(nodes, { lazyConnect: true, ...options });

    test('a cluster is described with start nodes that are URLs, objects and ports', () => {
      const found = described(
        cluster(['redis://h1:7001', { host: 'h2', port: '7002' }, 7003], {
          keyPrefix: 'app:',
          redisOptions: {
            ...{ username: 'ann', password: 'secret', tls: { ca: 'CA' } },
            ...{ connectTimeout: 1500, commandTimeout: 700 },
          },
          natMap: { '10.0.0.1:6379': { host: 'h3', port: 7003 } },
        }),
      );
      expect(found).toEqual({
        ...native,
        topology: 'cluster',
        nodes: [
          { host: 'h1', port: 7001 },
          { host: 'h2', port: 7002 },
          { host: '127.0.0.1', port: 7003 },
        ],
        natMap: { '10.0.0.1:6379': { host: 'h3', port: 7003 } },
        ...{ username: 'ann', password: 'secret', tls: { ca: 'CA' }, keyPrefix: 'app:' },
        ...{ connectTimeout: 1500, commandTimeout: 700 },
      });
    });

    test('a cluster whose user has no password is described with an empty one', () => {
      expect(described(cluster(['redis://h1'], { redisOptions: { username: 'ann' } }))).toMatchObject({
        username: 'ann',
        password: '',
      });
    });

    test("a cluster is described with the password in a start node's URL", () => {
      expect(described(cluster(['redis://h1', 'redis://:secret@h2']))).toMatchObject({
        topology: 'cluster',
        password: 'secret',
      });
    });

    test('a cluster whose dnsLookup returns names unchanged, as AWS requires, is described as native', () => {
      const dnsLookup = (address, callback) => callback(null, address);
      expect(described(cluster(['redis://h1'], { dnsLookup }))).toMatchObject({ transport: 'native' });
    });

    test.each([
      ['dnsLookup', { dnsLookup: (_host, callback) => callback(null, '127.0.0.1') }],
      ['dnsLookup', { dnsLookup: (_host, callback) => setImmediate(callback, null, 'h1') }],
      ['natMap', { natMap: () => null }],
      ['SRV', { useSRVRecords: true }],
      ['checkServerIdentity', { redisOptions: { tls: { checkServerIdentity() {} } } }],
    ])(
      'a cluster with a setting that cannot be carried over is described with the client transport: %s',
      (reason, options) => {
        const client = cluster(['redis://h1'], options);
        // iovalkey and ioredis 4 reject some of them themselves.
        Object.assign(client.options, options);
        expect(described(client)).toEqual(viaClient(command, reason));
      },
    );
  });

  test('a pipeline and a transaction are not accepted as clients', () => {
    expect(() => describeClient(make().pipeline())).toThrow(TypeError);
    expect(() => describeClient(make().multi())).toThrow(TypeError);
  });
});

describe('valkey-glide', () => {
  const clients = [];
  // Without connecting: no server listens at these addresses.
  async function make(Client, config) {
    const client = await Client.createClient({ lazyConnect: true, ...config });
    clients.push(client);
    return client;
  }
  afterEach(() => {
    for (const client of clients.splice(0)) client.close();
  });
  const addresses = [{ host: 'h1', port: 7001 }];
  const native = { transport: 'native', command: 'customCommand(args)', database: 0 };

  test.each([
    ['client', GlideClient, { topology: 'standalone' }],
    ['cluster', GlideClusterClient, { topology: 'cluster' }],
  ])('a valkey-glide %s is described as native', async (_what, Client, expected) => {
    const client = await make(Client, {
      addresses: [{ host: 'h1' }],
      credentials: { username: 'ann', password: 'secret' },
      requestTimeout: 700,
      useTLS: true,
      advancedConfiguration: { connectionTimeout: 1500, tlsAdvancedConfiguration: { insecure: true } },
    });
    expect(described(client)).toEqual({
      ...native,
      ...expected,
      nodes: [{ host: 'h1', port: 6379 }],
      ...{ username: 'ann', password: 'secret', tls: { rejectUnauthorized: false } },
      ...{ connectTimeout: 1500, commandTimeout: 700 },
    });
  });

  test('a valkey-glide client with a user name only is described without it', async () => {
    const client = await make(GlideClient, { addresses, credentials: { username: 'ann' } });
    expect(described(client)).not.toHaveProperty('username');
  });

  test('a valkey-glide client is described with its database', async () => {
    expect(described(await make(GlideClient, { addresses, databaseId: 3 }))).toEqual({
      ...native,
      topology: 'standalone',
      nodes: addresses,
      database: 3,
    });
  });

  test('a valkey-glide cluster is described with all its addresses', async () => {
    const several = [...addresses, { host: 'h2', port: 7002 }];
    expect(described(await make(GlideClusterClient, { addresses: several })).nodes).toEqual(several);
  });

  test.each([
    ['several addresses', GlideClient, { addresses: [...addresses, { host: 'h2' }] }],
    ['addressResolver', GlideClient, { addresses, addressResolver: (host, port) => [host, port] }],
    ['all nodes', GlideClient, { addresses, nodeDiscoveryMode: NodeDiscoveryMode.DiscoverAll }],
  ])(
    'a valkey-glide client with a setting that cannot be carried over is described with the client transport: %s',
    async (reason, Client, config) => {
      expect(described(await make(Client, config))).toEqual(viaClient('customCommand(args)', reason));
    },
  );
});

describe('other objects', () => {
  test('ioredis-mock is described with the client transport', () => {
    const mock = new Mock();
    expect(described(mock)).toEqual(viaClient('command(...args)', 'mock'));
    mock.disconnect();
  });

  test('a wrapper with the generic call of a known client is described with the client transport', () => {
    expect(described({ call: async () => null })).toEqual(
      viaClient('call(command, ...args)', 'known client'),
    );
    expect(described({ sendCommand: async () => null })).toEqual(
      viaClient('sendCommand(args)', 'known client'),
    );
    const withState = { sendCommand: async () => null, isOpen: true };
    expect(described(withState)).toEqual(viaClient('sendCommand(args)', 'not where those of redis are'));
  });

  test.each([
    ['null', null],
    ['a string', 'redis://h'],
    ['a plain object', {}],
    ['an object with settings', { options: { host: 'h' }, get() {}, set() {} }],
    ['a class', packages.ioredis6],
    ['a module', packages.redis6],
  ])('%s is not accepted as a client', (_what, value) => {
    expect(() => describeClient(value)).toThrow(
      expect.objectContaining({ name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' }),
    );
  });
});
