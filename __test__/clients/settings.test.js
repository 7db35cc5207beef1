'use strict';

const { inspect } = require('node:util');
const { RedisStore } = require('../..');
const { Certificates } = require('../support/certificates.js');
const { connectRaw, startRedis } = require('../support/redis.js');
const { clientKinds, closeAll, keepStore, openClient } = require('../support/stores.js');
const { until } = require('../support/until.js');

const PASSWORD = 'p:a%s/s@w€rd';

let certificates;
let server;
let raw;

beforeAll(async () => {
  certificates = new Certificates();
  certificates.makeAuthority('ca');
  certificates.makeCertificate('server', 'DNS:localhost,DNS:redis.example,IP:127.0.0.1');
  server = await startRedis({ tls: { ...certificates.ofServer('server'), clients: 'optional' } });
  raw = await connectRaw(server.port);
  await raw.command('ACL', 'SETUSER', 'ann', 'on', `>${PASSWORD}`, '~*', '&*', '+@all');
});
beforeEach(() => raw.command('FLUSHALL'));
afterEach(closeAll);
afterAll(async () => {
  await raw?.close();
  await server?.stop();
  certificates?.remove();
});

/** Returns the server's records of its connections, including the test's own. */
async function connections() {
  return String(await raw.command('CLIENT', 'LIST'))
    .trim()
    .split('\n');
}

// Checks, at the server, which settings the store takes over from a connected client.
describe.each(clientKinds)('the settings of %s', (kind) => {
  const isIoredis = kind.startsWith('io');
  const inDatabase = (db) => (isIoredis ? { db } : { database: db });
  const onSocket = (file) => (isIoredis ? { path: file } : { socket: { path: file, host: undefined } });
  const overTls = (settings) => (isIoredis ? { tls: settings } : { socket: { tls: true, ...settings } });
  const open = async (settings, port = server.port) =>
    keepStore(new RedisStore({ client: await openClient(kind, port, settings) }));

  test("the store uses the client's address and database", async () => {
    const store = await open(inDatabase(3));
    await store.set('abc', { n: 1 });
    expect(await raw.command('EXISTS', 'sess:abc')).toBe(0);
    await raw.command('SELECT', '3');
    const stored = await raw.command('GET', 'sess:abc');
    await raw.command('SELECT', '0');
    expect(String(stored)).toBe('{"n":1}');
  });

  test("the store uses the client's unix socket", async () => {
    const store = await open(onSocket(server.unixSocket));
    await store.set('abc', { n: 1 });
    expect(await store.get('abc')).toEqual({ n: 1 });
    // The client's connection and the store's.
    const bySocket = (await connections()).filter((line) =>
      line.replace('addr=[', 'addr=').includes(`addr=${server.unixSocket}:0`),
    );
    expect(bySocket).toHaveLength(2);
  });

  test("the store uses the client's user and password, without showing them", async () => {
    const store = await open({ username: 'ann', password: PASSWORD });
    await store.set('abc', { n: 1 });
    expect((await connections()).filter((line) => line.includes('user=ann'))).toHaveLength(2);
    for (const text of [inspect(store, { depth: 9 }), JSON.stringify(store)])
      expect(text).not.toContain(PASSWORD);
  });

  // Some clients send a user without a password to Redis; those of redis do not when they begin with HELLO.
  test.each(/^redis[56]$/.test(kind) ? [{}, { RESP: 2 }, { RESP: 3 }] : [{}])(
    'the store authenticates a user without a password as its client does, with %j',
    async (protocol) => {
      await raw.command('ACL', 'SETUSER', 'guest', 'on', 'nopass', '~*', '+@all');
      const client = await openClient(kind, server.port, { username: 'guest', ...protocol });
      const store = keepStore(new RedisStore({ client }));
      await store.get('abc');
      const users = (await connections())
        .filter((line) => !line.includes('cmd=client|list'))
        .map((line) => /user=(\S+)/.exec(line)[1]);
      const sendsUser = kind === 'redis6' ? protocol.RESP === 2 : protocol.RESP === undefined;
      expect(users).toEqual(Array(2).fill(sendsUser ? 'guest' : 'default'));
    },
  );

  test("the store uses the client's TLS settings, with a CA and a server name", async () => {
    const store = await open(
      overTls({ ca: certificates.pem('ca.crt'), servername: 'redis.example' }),
      server.tlsPort,
    );
    await store.set('abc', { n: 1 });
    expect(await store.get('abc')).toEqual({ n: 1 });
  });

  test("the store uses the client's TLS settings without verification", async () => {
    const store = await open(overTls({ rejectUnauthorized: false }), server.tlsPort);
    expect(await store.get('abc')).toBeNull();
  });

  test('the store closes when its client is closed', async () => {
    const client = await openClient(kind, server.port);
    const store = keepStore(new RedisStore({ client }));
    await store.get('abc');
    expect(await connections()).toHaveLength(3);
    await client.quit();
    await until(async () => (await connections()).length === 1);
    await expect(store.get('abc')).rejects.toMatchObject({ code: 'ERR_STORE_CLOSED' });
  });
});
