'use strict';

const { RedisStore } = require('../..');
const { connectRaw, startRedis } = require('../support/redis.js');
const { clientKinds, closeAll, keepStore, openClient } = require('../support/stores.js');

let server;
let raw;

beforeEach(async () => {
  server = await startRedis();
  raw = await connectRaw(server.port);
});
afterEach(async () => {
  await closeAll();
  await raw?.close();
  await server?.stop();
});

const share = (client, options) => keepStore(new RedisStore({ client, ...options }));

/** Returns the server's record of the connection with this name, as an object of its fields. */
async function connection(name) {
  const list = String(await raw.command('CLIENT', 'LIST')).split('\n');
  const line = list.find((entry) => entry.includes(` name=${name} `));
  return Object.fromEntries(line.split(' ').map((field) => field.split('=')));
}

describe.each(clientKinds)('the app shares its %s client', (kind) => {
  test("a store sends nothing through the app's client", async () => {
    const client = await openClient(kind, server.port);
    await (kind.startsWith('io')
      ? client.client('SETNAME', 'app')
      : client.sendCommand(['CLIENT', 'SETNAME', 'app']));

    const store = share(client);
    await store.set('abc', { n: 1 });
    await store.get('abc');
    await store.touch('abc', { n: 1 });
    await store.all();
    await store.clear();

    // The last command that was sent over it.
    expect((await connection('app')).cmd).toBe('client|setname');
    await store.close();
    expect((await connection('app')).cmd).toBe('client|setname');
  });

  test("a store survives a restart of Redis, as the app's client does", async () => {
    const client = await openClient(kind, server.port);
    // Not by events.once, which rejects at the 'error' that the loss emits as well.
    const lost = new Promise((resolve) => client.once('reconnecting', resolve));
    const back = lost.then(() => new Promise((resolve) => client.once('ready', resolve)));
    const store = share(client);
    await store.set('abc', { n: 1 });

    await server.kill();
    await server.start();
    await back;
    await store.set('abc', { n: 2 });

    expect(await store.get('abc')).toEqual({ n: 2 });
  });

  test('many stores on one client cause no leak warning, and leave no listeners when they are closed', async () => {
    const client = await openClient(kind, server.port);
    const before = client.listenerCount('end');

    // More listeners of one event than Node permits before it warns of a leak.
    const count = client.getMaxListeners() + 2;
    const stores = Array.from({ length: count }, (_, i) => share(client, { prefix: `${i}:` }));
    await Promise.all(stores.map((store) => store.get('abc')));
    const open = client.listenerCount('end');
    const most = client.getMaxListeners();
    await Promise.all(stores.map((store) => store.close()));

    expect(open).toBeLessThanOrEqual(most);
    // A listener keeps its store in memory as long as the client lives.
    expect(client.listenerCount('end')).toBe(before);
  });
});
