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

/** The server's record of the connection that has this name: its fields, by their names. */
async function connection(name) {
  const list = String(await raw.command('CLIENT', 'LIST')).split('\n');
  const line = list.find((entry) => entry.includes(` name=${name} `));
  return Object.fromEntries(line.split(' ').map((field) => field.split('=')));
}

describe.each(clientKinds)('the app shares its %s client', (kind) => {
  test('and nothing is sent through it', async () => {
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

    // The command that it was sent last.
    expect((await connection('app')).cmd).toBe('client|setname');
    await store.close();
    expect((await connection('app')).cmd).toBe('client|setname');
  });

  test('and the store outlives a restart of Redis, as the client does', async () => {
    const client = await openClient(kind, server.port);
    // Not by events.once, which rejects at the 'error' that the loss brings as well.
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

  test('and many stores on it look like no leak, and leave nothing behind when they are closed', async () => {
    const client = await openClient(kind, server.port);
    const before = client.listenerCount('end');

    // More than the listeners of one event that Node takes for a leak, and warns of.
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
