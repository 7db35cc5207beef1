'use strict';

const path = require('node:path');
const { RedisStore } = require('../..');
const { clients } = require('../support/clients.js');
const { startCluster } = require('../support/cluster.js');
const { connectRaw, startRedis } = require('../support/redis.js');
const { endedWith, runNode } = require('../support/run.js');
const { closeAll, keepStore } = require('../support/stores.js');
const { NEVER_MS, until } = require('../support/until.js');

// An app may close its client, or the client may stop reconnecting, and the app may connect it again.

const TRANSPORTS = ['native', 'client'];

const opened = [];

afterEach(async () => {
  await closeAll();
  // A client of redis 4 that has not finished connecting cannot be disconnected.
  for (const client of opened.splice(0))
    if (client.isOpen !== false && client.status !== 'end') await disconnect(client)?.catch(() => {});
});

async function openStore(name, topology, place, options, transport) {
  const { make, connect } = clients[name];
  const client = await make[topology](place, options);
  await connect(client);
  opened.push(client);
  // An operation that fails by then did not wait for its deadline.
  const store = keepStore(new RedisStore({ client, transport, commandTimeout: NEVER_MS }));
  await store.set('abc', { n: 1 });
  return { client, store };
}

/** Closes a client as an app does to end it. */
const quit = (client) => (client.quit ?? client.close).call(client);
const disconnect = (client) => (client.disconnect ?? client.close).call(client);

async function failsAtOnce(store) {
  await expect(store.get('abc')).rejects.toMatchObject({
    code: 'ERR_STORE_CLOSED',
    message: expect.stringMatching(/^get failed: the app's (redis|ioredis) client is closed/),
  });
}

async function servesAgain(store) {
  await store.set('abc', { n: 2 });
  expect(await store.get('abc')).toEqual({ n: 2 });
  await until(() => store.status === 'ready');
}

const standalone = Object.keys(clients).filter((name) => clients[name].reportsEnd);

describe('on a single server', () => {
  let server;
  let raw;
  beforeAll(async () => {
    server = await startRedis();
    raw = await connectRaw(server.port);
  });
  beforeEach(() => raw.command('FLUSHALL'));
  afterAll(async () => {
    await raw?.close();
    await server?.stop();
  });

  const place = () => ({ places: [{ host: '127.0.0.1', port: server.port }] });
  const connections = async () =>
    String(await raw.command('CLIENT', 'LIST'))
      .trim()
      .split('\n').length;

  describe.each(standalone)('%s', (name) => {
    describe.each(TRANSPORTS)('transport: %s', (transport) => {
      test.each([
        ['closed', quit],
        ['disconnected', disconnect],
      ])('a store fails at once while its client is %s, and works again after connect', async (_how, end) => {
        const { client, store } = await openStore(name, 'standalone', place(), undefined, transport);
        const ready = jest.fn();
        store.on('ready', ready);
        for (let round = 0; round < 2; round++) {
          await end(client);
          await until(() => store.status === 'closed');
          await failsAtOnce(store);
          // Only the test's own connection is left.
          await until(async () => (await connections()) === 1);
          ready.mockClear();
          await client.connect();
          await servesAgain(store);
          expect(ready).toHaveBeenCalledTimes(1);
          expect(await store.ids()).toEqual(['abc']);
        }
      });
    });

    test('a store that was closed stays closed when its client connects again', async () => {
      const { client, store } = await openStore(name, 'standalone', place());
      await quit(client);
      await until(() => store.status === 'closed');
      await store.close();
      await client.connect();
      await expect(store.get('abc')).rejects.toMatchObject({
        code: 'ERR_STORE_CLOSED',
        message: 'get failed: the store is closed',
      });
      expect(store.status).toBe('closed');
    });

    test('writes in flight when the client closes are ordered before those after connect', async () => {
      const { client, store } = await openStore(name, 'standalone', place());
      server.pause();
      const before = Promise.all([10, 11, 12].map((n) => store.set('order', { n })));
      let resumed;
      try {
        disconnect(client)?.catch(() => {});
        await until(() => store.status === 'closed');
        const connected = client.connect();
        connected.catch(() => {});
        const after = store.set('order', { n: 13 });
        resumed = Promise.all([before, after, connected]);
        resumed.catch(() => {});
      } finally {
        server.resume();
      }
      await resumed;
      expect(await store.get('order')).toEqual({ n: 13 });
    });
  });

  test('a cached session is not returned while the client is closed, nor stale after connect', async () => {
    const { make, connect } = clients['ioredis 6'];
    const client = make.standalone(place());
    await connect(client);
    opened.push(client);
    const store = keepStore(new RedisStore({ client, cache: true, commandTimeout: NEVER_MS }));
    await store.set('abc', { n: 1 });
    expect(await store.get('abc')).toEqual({ n: 1 });
    await quit(client);
    await until(() => store.status === 'closed');
    await failsAtOnce(store);
    await raw.command('SET', 'sess:abc', '{"n":3}');
    await client.connect();
    expect(await store.get('abc')).toEqual({ n: 3 });
    const { hits } = store.cacheStats();
    expect(await store.get('abc')).toEqual({ n: 3 });
    expect(store.cacheStats().hits).toBe(hits + 1);
  });

  test.each(['redis', 'ioredis'].flatMap((kind) => TRANSPORTS.map((transport) => [kind, transport])))(
    'a process ends although a store on a closed client of %s is open (transport: %s)',
    async (kind, transport) => {
      const program = path.join(__dirname, 'programs', 'client-closed.js');
      expect(await runNode(program, kind, transport, server.url)).toEqual(endedWith('ERR_STORE_CLOSED'));
    },
  );

  test('two stores on clients with the same settings are closed and opened independently', async () => {
    const one = await openStore('ioredis 6', 'standalone', place());
    const other = await openStore('ioredis 6', 'standalone', place());
    await quit(one.client);
    await until(() => one.store.status === 'closed');
    await failsAtOnce(one.store);
    await other.store.set('abc', { n: 5 });
    await one.client.connect();
    expect(await one.store.get('abc')).toEqual({ n: 5 });
    await quit(other.client);
    await until(() => other.store.status === 'closed');
    expect(await one.store.get('abc')).toEqual({ n: 5 });
  });

  test("with onUnavailable: 'sessionless', requests continue without sessions while the client is closed", async () => {
    const { make, connect } = clients['redis 6'];
    const client = make.standalone(place());
    await connect(client);
    opened.push(client);
    const store = keepStore(new RedisStore({ client, onUnavailable: 'sessionless' }));
    await store.get('abc');
    const events = [];
    for (const event of ['disconnect', 'connect']) store.on(event, () => events.push(event));
    await quit(client);
    await until(() => events.length === 1);
    await client.connect();
    await until(() => events.length === 2);
    expect(events).toEqual(['disconnect', 'connect']);
  });
});

describe('a client that stops reconnecting', () => {
  const givingUp = (name) =>
    name.startsWith('redis')
      ? (socket) => ({ places: [{ ...socket, reconnectStrategy: false }] })
      : (socket) => ({ places: [{ ...socket, retryStrategy: () => null }] });

  test.each(standalone.flatMap((name) => TRANSPORTS.map((transport) => [name, transport])))(
    '%s, transport: %s: the store fails at once after the client stops reconnecting, and works again after connect',
    async (name, transport) => {
      const server = await startRedis();
      try {
        const place = givingUp(name)({ host: '127.0.0.1', port: server.port });
        const { client, store } = await openStore(name, 'standalone', place, undefined, transport);
        await server.kill();
        await until(() => store.status === 'closed');
        await failsAtOnce(store);
        await server.start();
        await client.connect();
        await servesAgain(store);
        await closeAll();
      } finally {
        await server.stop();
      }
    },
  );
});

describe('on a cluster', () => {
  let cluster;
  beforeAll(async () => {
    cluster = await startCluster({ primaries: 3, replicas: 0 });
  });
  afterAll(() => cluster?.stop());

  const cases = standalone.flatMap((name) => TRANSPORTS.map((transport) => [name, transport]));

  // A cluster of redis 4 does not report its end: see below.
  test.each(cases.filter(([name]) => name !== 'redis 4'))(
    '%s, transport: %s: the store of a cluster fails at once while its client is closed, and works again after connect',
    async (name, transport) => {
      const place = { places: cluster.addresses, password: cluster.password };
      const { client, store } = await openStore(name, 'cluster', place, undefined, transport);
      await disconnect(client);
      await until(() => store.status === 'closed');
      await failsAtOnce(store);
      await client.connect();
      await servesAgain(store);
    },
  );

  test('a store on a cluster of redis 4, which does not report its end, works again with the first operation', async () => {
    const place = { places: cluster.addresses, password: cluster.password };
    const { client, store } = await openStore('redis 4', 'cluster', place, undefined, 'client');
    await disconnect(client);
    for (let n = 0; n < 3; n++) {
      await expect(store.get('abc')).rejects.toMatchObject({
        code: 'ERR_REDIS_UNAVAILABLE',
        message: expect.stringContaining('the app has closed it'),
      });
    }
    await client.connect();
    await servesAgain(store);
  });
});
