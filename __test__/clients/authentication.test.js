'use strict';

const { inspect } = require('node:util');
const { RedisStore } = require('../..');
const { connectRaw, startRedis } = require('../support/redis.js');
const { closeAll, keepStore } = require('../support/stores.js');
const { clients } = require('../support/unconnected.js');
const { NEVER_MS } = require('../support/until.js');

// Contains characters that a URL must encode, so that a password used without decoding is rejected.
const PASSWORD = 'p@ss:w0rd/%41';
const WRONG = 'wr0ng-s3cret';
/** An operation that ends by then did not wait for its deadline. */
const limits = { commandTimeout: NEVER_MS };

let server;
let raw;

beforeAll(async () => {
  server = await startRedis({ args: ['--requirepass', PASSWORD] });
  raw = await connectRaw(server.port);
  expect(await raw.command('AUTH', PASSWORD)).toBe('OK');
});
beforeEach(() => raw.command('FLUSHALL'));
afterEach(closeAll);
afterAll(async () => {
  await raw?.close();
  await server?.stop();
});

const url = (password) =>
  `redis://${password === undefined ? '' : `:${encodeURIComponent(password)}@`}127.0.0.1:${server.port}`;

const failure = (store) => store.get('abc').catch((reason) => reason);

const sources = { url: (address) => ({ url: address }) };
for (const [kind, make] of Object.entries(clients)) sources[kind] = (address) => ({ client: make(address) });

describe.each(Object.entries(sources))('a password without a user, by %s', (_kind, where) => {
  const open = (address) => keepStore(new RedisStore({ ...where(address), ...limits }));

  test('a password without a user is used, along with the database', async () => {
    const store = open(`${url(PASSWORD)}/4`);
    await store.set('abc', { n: 1 });
    expect(await store.get('abc')).toEqual({ n: 1 });
    expect(await raw.command('EXISTS', 'sess:abc')).toBe(0);
  });

  test('a password without a user is not shown when the store is logged', () => {
    const store = open(url(PASSWORD));
    for (const text of [inspect(store, { depth: 9 }), JSON.stringify(store)])
      for (const secret of [PASSWORD, encodeURIComponent(PASSWORD)]) expect(text).not.toContain(secret);
  });

  test('an operation rejects with WRONGPASS at once, without showing the password, when it is wrong', async () => {
    const error = await failure(open(url(WRONG)));
    expect(error).toMatchObject({ code: 'ERR_REDIS_REPLY', reply: 'WRONGPASS' });
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain(WRONG);
  });

  test('an operation rejects with NOAUTH at once when the password is missing', async () => {
    expect(await failure(open(url()))).toMatchObject({ code: 'ERR_REDIS_REPLY', reply: 'NOAUTH' });
  });
});

describe.each(['redis5', 'redis'])('a credentialsProvider of %s', (name) => {
  const { createClient } = require(name);

  test.each([
    ['async-credentials-provider', (provide) => ({ credentials: async () => provide() })],
    [
      'streaming-credentials-provider',
      (provide) => ({ subscribe: async () => [provide(), { dispose() {} }] }),
    ],
  ])('a credentialsProvider is called at each connect: %s', async (type, provider) => {
    let password = PASSWORD;
    let asked = 0;
    const provide = () => {
      asked += 1;
      return { username: 'default', password };
    };
    const socket = { host: '127.0.0.1', port: server.port };
    const client = createClient({ socket, credentialsProvider: { type, ...provider(provide) } });
    const store = keepStore(new RedisStore({ client, ...limits }));
    await store.set('abc', { n: 1 });
    // The store also stays subscribed to a streaming provider as long as it lives.
    const askedAtFirst = asked;
    expect(askedAtFirst).toBe(type === 'streaming-credentials-provider' ? 2 : 1);

    password = 'an0ther';
    await raw.command('CONFIG', 'SET', 'requirepass', password);
    try {
      await raw.command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
      expect(await store.get('abc')).toEqual({ n: 1 });
      expect(asked).toBe(askedAtFirst + 1);
    } finally {
      await raw.command('CONFIG', 'SET', 'requirepass', PASSWORD);
    }
  });
});

describe.each([
  ['redis5', undefined, 3],
  ['redis', 2, 3],
])('a credentialsProvider of %s that returns no password', (name, without, withHello) => {
  const { createClient } = require(name);
  const open = (RESP, credentials) => {
    const credentialsProvider = { type: 'async-credentials-provider', credentials: async () => credentials };
    const socket = { host: '127.0.0.1', port: server.port };
    const client = createClient({ socket, credentialsProvider, ...(RESP && { RESP }) });
    return keepStore(new RedisStore({ client, ...limits }));
  };

  test('credentials without a password authenticate their user where the client sends the user name', async () => {
    await raw.command('ACL', 'SETUSER', 'guest', 'on', 'nopass', '~*', '+@all');
    const store = open(without, { username: 'guest' });
    expect(await store.get('abc')).toBeNull();
    expect(String(await raw.command('CLIENT', 'LIST'))).toContain('user=guest');
  });

  test('credentials without a password authenticate no one where the client does not send the user name', async () => {
    const noauth = { code: 'ERR_REDIS_REPLY', reply: 'NOAUTH' };
    expect(await failure(open(withHello, { username: 'guest' }))).toMatchObject(noauth);
    expect(await failure(open(without, {}))).toMatchObject(noauth);
    expect(await failure(open(without, { username: undefined, password: '' }))).toMatchObject(noauth);
  });
});

test('a user and a password in a URL are decoded', async () => {
  await raw.command('ACL', 'SETUSER', 'an:n', 'on', `>${PASSWORD}`, '~*', '+@all');
  const account = ['an:n', PASSWORD].map(encodeURIComponent).join(':');
  const store = keepStore(new RedisStore({ url: `redis://${account}@127.0.0.1:${server.port}` }));
  await store.set('abc', { n: 1 });
  expect(String(await raw.command('CLIENT', 'LIST'))).toContain('user=an:n');
});

test('a url of a unix socket can have a password and a database', async () => {
  const address = `redis+unix://${server.unixSocket}?db=2&pass=${encodeURIComponent(PASSWORD)}`;
  const store = keepStore(new RedisStore({ url: address }));
  await store.set('abc', { n: 1 });
  await raw.command('SELECT', '2');
  const stored = await raw.command('GET', 'sess:abc');
  await raw.command('SELECT', '0');
  expect(String(stored)).toBe('{"n":1}');
});
