'use strict';

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { inspect } = require('node:util');
const { RedisStore } = require('../..');
const { freePort } = require('../../scripts/redis.js');
const { connectRaw, startRedis } = require('../support/redis.js');
const { clientKinds, closeAll, keepStore, openClient } = require('../support/stores.js');

const PASSWORD = 'p:a%s/s@w€rd';
const isIoredis = (kind) => kind.startsWith('io');

let dir;
let server;
let raw;
let tls;

beforeAll(async () => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'adoption-'));
  tls = { ...makeCertificates(dir), port: await freePort() };
  server = await startRedis({
    args: ['--tls-port', String(tls.port), '--tls-auth-clients', 'optional'].concat([
      '--tls-cert-file',
      tls.cert,
      '--tls-key-file',
      tls.key,
      '--tls-ca-cert-file',
      tls.ca,
    ]),
  });
  raw = await connectRaw(server.port);
  await raw.command('ACL', 'SETUSER', 'ann', 'on', `>${PASSWORD}`, '~*', '&*', '+@all');
});
beforeEach(() => raw.command('FLUSHALL'));
afterEach(closeAll);
afterAll(async () => {
  await raw?.close();
  await server?.stop();
  fs.rmSync(dir, { recursive: true, force: true });
});

/** A CA and the certificate it gave to localhost. */
function makeCertificates(folder) {
  const file = (name) => path.join(folder, name);
  const openssl = (...args) => execFileSync('openssl', args, { cwd: folder, stdio: 'ignore' });
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  openssl(
    'req',
    '-x509',
    ...newKey,
    '-subj',
    '/CN=test CA',
    '-days',
    '2',
    '-keyout',
    'ca.key',
    '-out',
    'ca.crt',
  );
  openssl('req', ...newKey, '-subj', '/CN=localhost', '-keyout', 'server.key', '-out', 'server.csr');
  fs.writeFileSync(file('names'), 'subjectAltName=DNS:localhost,DNS:redis.example,IP:127.0.0.1');
  openssl(
    ...['x509', '-req', '-in', 'server.csr', '-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial'],
    ...['-days', '2', '-extfile', 'names', '-out', 'server.crt'],
  );
  return { ca: file('ca.crt'), cert: file('server.crt'), key: file('server.key') };
}

/** How many connections the server has, beside the one that asks. */
async function connections() {
  return (
    String(await raw.command('CLIENT', 'LIST'))
      .trim()
      .split('\n').length - 1
  );
}

async function adopt(kind, settings, port = server.port, options = {}) {
  const client = await openClient(kind, port, settings);
  return keepStore(new RedisStore({ client, ...options }));
}

const credentials = (username, password) => ({ username, password });

describe.each(clientKinds)('the settings of %s', (kind) => {
  const inDatabase = (db) => (isIoredis(kind) ? { db } : { database: db });
  const onSocket = (file) => (isIoredis(kind) ? { path: file } : { socket: { path: file, host: undefined } });
  const overTls = (settings) =>
    isIoredis(kind) ? { tls: settings } : { socket: { tls: true, ...settings } };

  test('address and database', async () => {
    const store = await adopt(kind, inDatabase(3));
    await store.set('abc', { n: 1 });
    expect(await raw.command('EXISTS', 'sess:abc')).toBe(0);
    await raw.command('SELECT', '3');
    const stored = await raw.command('GET', 'sess:abc');
    await raw.command('SELECT', '0');
    expect(String(stored)).toBe('{"n":1}');
  });

  test('unix socket', async () => {
    const store = await adopt(kind, onSocket(server.unixSocket));
    await store.set('abc', { n: 1 });
    expect(await store.get('abc')).toEqual({ n: 1 });
    expect(String(await raw.command('CLIENT', 'LIST'))).toContain(`addr=${server.unixSocket}`);
  });

  test('user and password', async () => {
    const store = await adopt(kind, credentials('ann', PASSWORD));
    await store.set('abc', { n: 1 });
    const list = String(await raw.command('CLIENT', 'LIST'))
      .trim()
      .split('\n');
    // The client's connection and the store's.
    expect(list.filter((line) => line.includes('user=ann'))).toHaveLength(2);
    for (const text of [inspect(store, { depth: 9 }), JSON.stringify(store)])
      expect(text).not.toContain(PASSWORD);
  });

  test('TLS, with a CA and a name', async () => {
    const ca = fs.readFileSync(tls.ca);
    const store = await adopt(kind, overTls({ ca, servername: 'redis.example' }), tls.port);
    await store.set('abc', { n: 1 });
    expect(await store.get('abc')).toEqual({ n: 1 });
  });

  test('TLS, unverified', async () => {
    const store = await adopt(kind, overTls({ rejectUnauthorized: false }), tls.port);
    expect(await store.get('abc')).toBeNull();
  });

  test('end of the client: of the store, too', async () => {
    const client = await openClient(kind, server.port);
    const store = keepStore(new RedisStore({ client }));
    await store.get('abc');
    expect(await connections()).toBe(2);
    await client.quit();
    while ((await connections()) > 0);
    await expect(store.get('abc')).rejects.toMatchObject({ code: 'ERR_STORE_CLOSED' });
  });
});

test.each(clientKinds.filter((kind) => isIoredis(kind) || kind === 'redis6'))(
  'the key prefix of %s',
  async (kind) => {
    const store = await adopt(kind, { keyPrefix: 'app:' });
    await store.set('abc', { n: 1 });
    expect(String(await raw.command('GET', 'app:sess:abc'))).toBe('{"n":1}');
    expect(await store.ids()).toEqual(['abc']);
    expect(await store.length()).toBe(1);
    expect((await store.all()).map(({ id }) => id)).toEqual(['abc']);
    await store.clear();
    expect(await raw.command('DBSIZE')).toBe(0);
  },
);

test('a client that is not connected yet will do', async () => {
  const { createClient } = require('redis');
  const store = keepStore(new RedisStore({ client: createClient({ url: server.url }) }));
  await store.set('abc', { n: 1 });
  expect(await store.get('abc')).toEqual({ n: 1 });
});

describe('refused, with what was expected', () => {
  const Redis = require('ioredis');
  const cases = {
    'a plain object': () => ({}),
    'a function': () => () => {},
    'a cluster without a node': () => new Redis.Cluster([], { lazyConnect: true }),
  };
  test.each(Object.keys(cases))('%s', (name) => {
    const client = cases[name]();
    let thrown;
    try {
      new RedisStore({ client });
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(TypeError);
    expect(thrown.code).toMatch(/^ERR_INVALID_ARG_(TYPE|VALUE)$/);
    expect(thrown.message).toMatch(
      /^The "client" option must be (a client of redis|one that names a server)/,
    );
  });
});

describe('url', () => {
  const open = (url) => keepStore(new RedisStore({ url }));
  const place = () => `127.0.0.1:${server.port}`;
  const works = async (url) => {
    const store = open(url);
    await store.set('abc', { n: 1 });
    expect(await store.get('abc')).toEqual({ n: 1 });
  };

  test('user and password, percent-encoded', () =>
    works(`redis://ann:${encodeURIComponent(PASSWORD)}@${place()}`));

  test('a URL object', () => works(new URL(`redis://${place()}`)));

  test('unix socket', () => works(`redis+unix://${server.unixSocket}`));

  test('database', async () => {
    await works(`redis://${place()}/5`);
    expect(await raw.command('EXISTS', 'sess:abc')).toBe(0);
  });

  test('a wrong password is said at once, and not shown', async () => {
    const error = await open(`redis://ann:wr0ng@${place()}`)
      .get('abc')
      .catch((reason) => reason);
    expect(error).toMatchObject({ code: 'ERR_REDIS_REPLY', reply: 'WRONGPASS' });
    expect(error.message).toContain(place());
    expect(error.message).not.toContain('wr0ng');
  });

  test('a database that the server does not have', async () => {
    const error = await open(`redis://${place()}/999`)
      .get('abc')
      .catch((reason) => reason);
    expect(error).toMatchObject({ code: 'ERR_REDIS_REPLY' });
    expect(error.message).toMatch(/DB index|database/i);
  });

  test('a server whose certificate nobody vouches for', async () => {
    const error = await open(`rediss://localhost:${tls.port}`)
      .get('abc')
      .catch((reason) => reason);
    expect(error).toMatchObject({ code: 'ERR_REDIS_UNAVAILABLE' });
    expect(error.message).toMatch(/certificate/i);
  });
});
