'use strict';

const Redis = require('ioredis');
const { RedisStore } = require('../..');
const { Certificates } = require('../support/certificates.js');
const { connectRaw, startRedis } = require('../support/redis.js');
const { closeAll, keepStore } = require('../support/stores.js');

// URLs that the clients accept, as the option `url`.

let certificates;
let server;
let raw;
beforeAll(async () => {
  certificates = new Certificates();
  certificates.makeAuthority('ca');
  certificates.makeCertificate('server', 'DNS:localhost');
  server = await startRedis({ tls: certificates.ofServer('server') });
  raw = await connectRaw(server.port);
  await raw.command('ACL', 'SETUSER', 'guest', 'on', 'nopass', '~*', '+@all');
  await raw.command('ACL', 'SETUSER', 'an@n', 'on', '>p%a:s/s#?', '~*', '+@all');
});
afterEach(closeAll);
afterAll(async () => {
  await raw?.close();
  await server?.stop();
  certificates?.remove();
});

const open = (url, options) => keepStore(new RedisStore({ url, ...options }));

/** Returns the users of the connections of stores. */
async function users() {
  const list = String(await raw.command('CLIENT', 'LIST')).split('\n');
  return list
    .filter((line) => line.includes('name=connect-redis-native:'))
    .map((line) => /\buser=(\S+)/.exec(line)[1]);
}

test.each([
  ['a user without a password', 'guest@', 'guest'],
  ['a user with an empty password', 'guest:@', 'guest'],
  ['user and password, percent-encoded', 'an%40n:p%25a%3As%2Fs%23%3F@', 'an@n'],
])('%s authenticates as ioredis does', async (_what, userinfo, user) => {
  const url = `redis://${userinfo}127.0.0.1:${server.port}`;
  const client = new Redis(url);
  expect(await client.call('ACL', 'WHOAMI')).toBe(user);
  client.disconnect();
  expect(await open(url).get('abc')).toBeNull();
  expect(await users()).toEqual([user]);
});

test.each(['?family=0', '?family=4', '?family=6', '/3?family=4'])(
  'a url with %s is accepted',
  async (rest) => {
    expect(await open(`redis://127.0.0.1:${server.port}${rest}`).get('abc')).toBeNull();
  },
);

test.each([
  ['the scheme valkey://', () => `valkey://127.0.0.1:${server.port}/2`],
  ['the scheme VALKEY://', () => `VALKEY://127.0.0.1:${server.port}/2`],
  ['the scheme unix:// and a socket file', () => `unix://${server.unixSocket}?db=2`],
])('a url with %s selects the server and database', async (_what, url) => {
  const store = open(url());
  await store.set('abc', { n: 1 });
  await raw.command('SELECT', '2');
  const stored = await raw.command('GETDEL', 'sess:abc');
  await raw.command('SELECT', '0');
  expect(String(stored)).toBe('{"n":1}');
});

test('valkeys:// is treated as rediss://', async () => {
  const ca = certificates.pem('ca.crt');
  expect(await open(`valkeys://localhost:${server.tlsPort}`, { tls: { ca } }).get('abc')).toBeNull();
  expect(() => new RedisStore({ url: 'valkeys://localhost', tls: false })).toThrow(TypeError);
});

test.each(['?family=5', '?family=', '?db=5', '?family=4&password=hunter2'])(
  'the constructor rejects %s without showing its values',
  (rest) => {
    expect(() => new RedisStore({ url: `redis://localhost${rest}` })).toThrow(
      expect.objectContaining({
        code: 'ERR_INVALID_ARG_VALUE',
        message: expect.not.stringContaining('hunter2'),
      }),
    );
  },
);

test('a cluster client whose node has a malformed URL does not make the constructor throw a URIError', () => {
  const { createCluster } = require('redis');
  const client = createCluster({ rootNodes: [{ url: 'redis://ann:%zz@localhost' }] });
  expect(keepStore(new RedisStore({ client })).transport).toBe('client');
});
