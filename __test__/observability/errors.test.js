'use strict';

const dns = require('node:dns');
const { once } = require('node:events');
const tls = require('node:tls');
const { inspect } = require('node:util');
const { MessageChannel } = require('node:worker_threads');
const Redis = require('ioredis');
const serializers = require('pino-std-serializers');
const { RedisStore, RedisStoreError } = require('../..');
const { Certificates } = require('../support/certificates.js');
const { startCluster } = require('../support/cluster.js');
const { askOnce, startRedis } = require('../support/redis.js');
const { closeAll, keepStore } = require('../support/stores.js');

const HOST = '127.0.0.1';
const ID = 'the-id-of-ann';
const PASSWORD = 'correct-horse-battery';
const SECRET = 'the-data-of-ann';
/** For operations that fail by their deadline; Node resolves no name and connects to no port in less. */
const DEADLINE = { commandTimeout: 1500, connectTimeout: 1000 };

const clients = [];
const servers = [];
/** Every error of the suite, from operations and events. */
const errors = [];

afterEach(async () => {
  await closeAll();
  for (const client of clients.splice(0)) client.disconnect();
  await Promise.all(servers.splice(0).map((server) => server.stop()));
});

/** Starts a server that is stopped after the test. */
async function start(options) {
  const server = await startRedis(options);
  servers.push(server);
  return server;
}

/** Opens a store that runs its commands by this transport; its events are recorded. */
function open(transport, { port, host = HOST, ...options }) {
  const where =
    transport === 'native' ? { url: `redis://${host}:${port}` } : { client: connect(host, port), transport };
  return recorded(keepStore(new RedisStore({ ...where, ...options })));
}

function connect(host, port) {
  const client = new Redis({ host, port, maxRetriesPerRequest: null, retryStrategy: () => 50 });
  client.on('error', () => {}); // it retries
  clients.push(client);
  return client;
}

function recorded(store) {
  for (const event of ['error', 'reconnecting']) store.on(event, (error) => errors.push(error));
  return store;
}

/** Returns the error of an operation. */
async function failure(promise) {
  const error = await promise.then(
    () => {
      throw new Error('it succeeded');
    },
    (reason) => reason,
  );
  errors.push(error);
  return error;
}

const get = (store) => failure(store.get(ID));
const save = (store) => failure(store.set(ID, { data: SECRET, cookie: {} }));

const UNAVAILABLE = { code: 'ERR_REDIS_UNAVAILABLE', retryable: true };

describe.each(['native', 'client'])('errors of the %s transport', (transport) => {
  test('`get` rejects with address, attempts and ECONNREFUSED when the port is closed', async () => {
    const store = open(transport, { port: 1, ...DEADLINE });
    const event = once(store, 'error');
    const error = await get(store);
    expect(error).toBeInstanceOf(RedisStoreError);
    expect(error).toMatchObject({ ...UNAVAILABLE, operation: 'get', address: HOST, port: 1 });
    expect(error.attempts).toBeGreaterThan(0);
    expect(error.cause).toMatchObject({ code: 'ECONNREFUSED', address: HOST, port: 1 });
    const [reported] = await event;
    expect(reported).toBeInstanceOf(RedisStoreError);
    expect(reported).toMatchObject({ ...UNAVAILABLE, address: HOST, cause: { code: 'ECONNREFUSED' } });
    expect(reported.operation).toBeUndefined();
  });

  test("`get` rejects with the code of Node's lookup when the host is unknown", async () => {
    const { code } = await dns.promises.lookup('redis.invalid').catch((reason) => reason);
    const error = await get(open(transport, { host: 'redis.invalid', port: 6379, ...DEADLINE }));
    expect(error).toMatchObject({ ...UNAVAILABLE, address: 'redis.invalid', cause: { code } });
  });

  test('`set` rejects with the system code when the server was killed', async () => {
    const server = await start();
    const store = open(transport, { port: server.port, ...DEADLINE });
    await store.set(ID, { data: SECRET, cookie: {} });
    const lost = once(store, 'reconnecting');
    await server.kill();
    const error = await save(store);
    expect(error).toMatchObject({ ...UNAVAILABLE, operation: 'set', address: HOST, port: server.port });
    expect(error.cause.code).toMatch(/^(ECONNREFUSED|ECONNRESET)$/);
    expect((await lost)[0]).toMatchObject(UNAVAILABLE);
  });

  test('`get` rejects with ERR_REDIS_TIMEOUT, retryable, when the server is stopped', async () => {
    const server = await start();
    const store = open(transport, { port: server.port, ...DEADLINE });
    await store.get(ID);
    server.pause();
    expect(await get(store)).toMatchObject({
      code: 'ERR_REDIS_TIMEOUT',
      operation: 'get',
      retryable: true,
    });
  });

  test('`get` rejects with ERR_REDIS_QUEUE_FULL and the cause when too many operations wait', async () => {
    const store = open(transport, { port: 1, maxQueue: 1, commandTimeout: 3000 });
    await once(store, 'error');
    const waiting = get(store);
    const error = await get(store);
    expect(error).toMatchObject({ code: 'ERR_REDIS_QUEUE_FULL', operation: 'get', retryable: true });
    expect(error.cause).toMatchObject({ code: 'ECONNREFUSED' });
    expect(await waiting).toMatchObject(UNAVAILABLE);
  });

  test('`set` rejects with the reply as the cause when a replica keeps refusing it', async () => {
    const server = await start();
    await askOnce(server, 'REPLICAOF', HOST, '1');
    const store = open(transport, { port: server.port, ...DEADLINE });
    const error = await save(store);
    expect(error).toMatchObject({ ...UNAVAILABLE, operation: 'set' });
    expect(error.cause).toMatchObject({ code: 'ERR_REDIS_REPLY', reply: 'READONLY' });
  });

  test('`get` rejects with the reply, not retryable, when the key has another type', async () => {
    const server = await start();
    await askOnce(server, 'LPUSH', `sess:${ID}`, SECRET);
    const error = await get(open(transport, { port: server.port }));
    const permanent = { code: 'ERR_REDIS_REPLY', reply: 'WRONGTYPE', retryable: false };
    expect(error).toMatchObject({ ...permanent, operation: 'get' });
    if (transport === 'native') expect(error).toMatchObject({ address: HOST, port: server.port });
  });

  test('`get` rejects with a hint when a cluster is used without the option `cluster`', async () => {
    const cluster = await startCluster({ primaries: 3, replicas: 0 });
    servers.push(cluster);
    const store = open(transport, { port: cluster.addresses[0].port });
    let error;
    for (let n = 0; error?.reply !== 'MOVED'; n++)
      error = await store.get(`${ID}-${n}`).then(
        () => undefined,
        (reason) => reason,
      );
    errors.push(error);
    expect(error).toMatchObject({ code: 'ERR_REDIS_REPLY', retryable: false });
    expect(error.message).toContain('belongs to a cluster');
    expect(error.message).toContain('"cluster" option');
  }, 60_000);

  test('`get` rejects with the position when the stored session is corrupt', async () => {
    const server = await start();
    await askOnce(server, 'SET', `sess:${ID}`, `{"data":"${SECRET}`);
    const error = await get(open(transport, { port: server.port }));
    expect(error).toBeInstanceOf(RedisStoreError);
    const corrupt = { code: 'ERR_SESSION_CORRUPT', operation: 'get', retryable: false };
    expect(error).toMatchObject({ ...corrupt, position: expect.any(Number) });
    expect(error.cause).toBeUndefined();
  });

  test('`set` rejects with ERR_SESSION_CONFLICT, not retryable, when another request has saved', async () => {
    const server = await start();
    const store = open(transport, { port: server.port, onConflict: 'reject' });
    await store.set(ID, { data: SECRET, cookie: {} });
    const mine = await store.get(ID);
    await askOnce(server, 'SET', `sess:${ID}`, JSON.stringify({ data: `${SECRET}-2`, cookie: {} }));
    const error = await failure(store.set(ID, { ...mine, data: `${SECRET}-3` }));
    expect(error).toBeInstanceOf(RedisStoreError);
    expect(error).toMatchObject({ code: 'ERR_SESSION_CONFLICT', operation: 'set', retryable: false });
    expect(error.stored).toMatchObject({ data: `${SECRET}-2` });
    expect(Object.keys(error)).not.toContain('stored');
  });

  test('`get` rejects with ERR_STORE_CLOSED after `close`', async () => {
    const server = await start();
    const store = open(transport, { port: server.port });
    await store.close();
    expect(await get(store)).toMatchObject({ code: 'ERR_STORE_CLOSED', operation: 'get', retryable: false });
  });
});

describe('errors of a password', () => {
  let server;
  beforeEach(async () => {
    server = await start({ args: ['--requirepass', PASSWORD] });
  });

  test('`get` rejects with a hint when the password is missing', async () => {
    const error = await get(open('native', { port: server.port }));
    const refused = { code: 'ERR_REDIS_REPLY', reply: 'NOAUTH', retryable: false };
    expect(error).toMatchObject({ ...refused, address: HOST, port: server.port });
    expect(error.message).toContain('redis://:password@host');
  });

  test('`get` rejects with WRONGPASS, not retryable, when the password is wrong', async () => {
    const url = `redis://:${PASSWORD}-wrong@${HOST}:${server.port}`;
    const error = await get(recorded(keepStore(new RedisStore({ url }))));
    expect(error).toMatchObject({ code: 'ERR_REDIS_REPLY', reply: 'WRONGPASS', retryable: false });
  });

  test('`get` rejects with ERR_CREDENTIALS, retryable, when the function `credentials` throws', async () => {
    const credentials = () => {
      throw new Error(`no token for ${PASSWORD}`);
    };
    const url = `redis://${HOST}:${server.port}`;
    const error = await failure(keepStore(new RedisStore({ url, credentials })).get(ID));
    // The app's own message is passed on.
    errors.pop();
    expect(error).toMatchObject({ code: 'ERR_CREDENTIALS', retryable: true, address: HOST });
  });
});

describe('errors of TLS', () => {
  let certificates;
  let server;
  beforeAll(() => {
    certificates = new Certificates();
    certificates.makeAuthority('ca');
    certificates.makeAuthority('stranger');
    certificates.makeCertificate('server', 'DNS:localhost');
    certificates.makeCertificate('expired', 'DNS:localhost', { days: -1 });
    certificates.makeCertificate('other', 'DNS:other.example');
    certificates.makeSelfSigned('itself', 'DNS:localhost');
  });
  beforeEach(async () => {
    server = await start({ tls: certificates.ofServer('server') });
  });
  afterAll(() => certificates?.remove());

  const present = (name) =>
    askOnce(
      server,
      ...['CONFIG', 'SET', 'tls-cert-file', certificates.file(`${name}.crt`)],
      ...['tls-key-file', certificates.file(`${name}.key`)],
    );

  /** Returns the code with which Node's own client fails. */
  async function nodesCode(options) {
    const socket = tls.connect({ host: 'localhost', port: server.tlsPort, ...options });
    socket.on('secureConnect', () => socket.write('PING\r\n'));
    socket.on('data', () => socket.destroy(new Error('accepted')));
    const [{ code }] = await once(socket, 'error');
    return code;
  }

  const refusal = (options, { scheme = 'rediss', port = server.tlsPort } = {}) =>
    get(
      recorded(
        keepStore(new RedisStore({ url: `${scheme}://localhost:${port}`, tls: options, ...DEADLINE })),
      ),
    );

  test.each([
    ['expired', 'CERT_HAS_EXPIRED', 'ca'],
    ['other', 'ERR_TLS_CERT_ALTNAME_INVALID', 'ca'],
    ['itself', 'DEPTH_ZERO_SELF_SIGNED_CERT', 'ca'],
    ['server', 'SELF_SIGNED_CERT_IN_CHAIN', 'stranger'],
    ['server', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'stranger', 'stranger'],
  ])("a certificate (%s) is refused with Node's code, %s", async (name, code, authority, issuer = 'ca') => {
    // The server appends the issuer's certificate if it has it.
    await askOnce(server, 'CONFIG', 'SET', 'tls-ca-cert-file', certificates.file(`${issuer}.crt`));
    await present(name);
    const options = { ca: certificates.pem(`${authority}.crt`) };
    expect(await nodesCode(options)).toBe(code);
    const error = await refusal(options);
    expect(error).toMatchObject({ ...UNAVAILABLE, address: 'localhost', cause: { code } });
    expect(error.message).not.toMatch(/DnsName|Context|\(UNIX\)|InvalidCertificate/);
  });

  test("a missing client certificate is refused with Node's code", async () => {
    await askOnce(server, 'CONFIG', 'SET', 'tls-auth-clients', 'yes');
    const options = { ca: certificates.pem('ca.crt') };
    const code = await nodesCode(options);
    const error = await refusal(options);
    expect(error).toMatchObject({ ...UNAVAILABLE, cause: { code } });
    expect(error.message).toContain('requires a client certificate');
  });

  test('`get` rejects with a hint when the port has no TLS', async () => {
    const error = await refusal({ ca: certificates.pem('ca.crt') }, { port: server.port });
    expect(error).toMatchObject({ code: 'ERR_REDIS_TIMEOUT', retryable: true, cause: { code: 'ETIMEDOUT' } });
    expect(error.message).toContain('does it speak TLS on this port');
  });

  test('`get` rejects with a hint when the port expects TLS', async () => {
    const error = await refusal(undefined, { scheme: 'redis' });
    expect(error).toMatchObject({ ...UNAVAILABLE, cause: { code: 'ECONNRESET' } });
    expect(error.message).toContain('does it expect TLS: rediss:// or the "tls" option?');
  });
});

test('errors name the socket as the address when a Unix socket is missing', async () => {
  const path = '/tmp/no-redis-here.sock';
  const store = keepStore(new RedisStore({ url: `redis+unix://${path}`, ...DEADLINE }));
  const error = await get(store);
  expect(error).toMatchObject({ ...UNAVAILABLE, address: path, cause: { code: 'ENOENT' } });
  expect(error.port).toBeUndefined();
});

test('errors name the node of a cluster that is unreachable', async () => {
  const store = recorded(keepStore(new RedisStore({ cluster: [`${HOST}:1`], ...DEADLINE })));
  const error = await get(store);
  expect(error).toMatchObject({ ...UNAVAILABLE, address: HOST, port: 1, cause: { code: 'ECONNREFUSED' } });
});

test('errors name the Sentinel that is unreachable', async () => {
  const sentinel = { name: 'group', addresses: [`${HOST}:1`] };
  const error = await get(recorded(keepStore(new RedisStore({ sentinel, ...DEADLINE }))));
  expect(error).toMatchObject({ ...UNAVAILABLE, address: HOST, port: 1, cause: { code: 'ECONNREFUSED' } });
});

test('errors of options stay a TypeError or RangeError', () => {
  for (const [options, ErrorClass] of [
    [{ prefix: 5 }, TypeError],
    [{ onConflict: 'wrong' }, TypeError],
    [{ commandTimeout: -1 }, RangeError],
  ]) {
    let error;
    try {
      new RedisStore(options);
    } catch (reason) {
      error = reason;
    }
    expect(error).toBeInstanceOf(ErrorClass);
    expect(error).not.toBeInstanceOf(RedisStoreError);
  }
});

describe('an error', () => {
  let error;
  beforeEach(async () => {
    error = await get(open('native', { port: 1, commandTimeout: 300 }));
  });

  test('keeps message, stack and cause when it is cloned or sent to a thread', async () => {
    const { port1, port2 } = new MessageChannel();
    const received = once(port2, 'message');
    port1.postMessage(error);
    const [sent] = await received;
    port1.close();
    for (const copy of [structuredClone(error), sent]) {
      expect(copy).toMatchObject({ message: error.message, stack: error.stack });
      expect(copy.cause.message).toContain('ECONNREFUSED');
    }
    expect(structuredClone(error.toJSON())).toEqual(JSON.parse(JSON.stringify(error)));
  });

  test('shows its properties in JSON, in `util.inspect` and by pino', () => {
    const { message, attempts } = error;
    const where = { address: HOST, port: 1 };
    const cause = { message: expect.stringContaining('ECONNREFUSED'), code: 'ECONNREFUSED', ...where };
    const json = { ...UNAVAILABLE, name: 'RedisStoreError', message, operation: 'get', attempts, ...where };
    expect(JSON.parse(JSON.stringify({ error })).error).toEqual({ ...json, cause });
    const logged = serializers.err(error);
    expect(logged).toMatchObject({ ...UNAVAILABLE, type: 'RedisStoreError', operation: 'get', attempts });
    expect(logged.stack).toContain('caused by: Error: Connection refused (ECONNREFUSED)');
    for (const part of ["code: 'ERR_REDIS_UNAVAILABLE'", 'retryable: true', "code: 'ECONNREFUSED'"])
      expect(inspect(error)).toContain(part);
  });

  test('can be created by an app for tests of its handlers', () => {
    const own = new RedisStoreError('set failed', { code: 'ERR_REDIS_TIMEOUT', operation: 'set' });
    expect(own).toMatchObject({ name: 'RedisStoreError', retryable: true, operation: 'set' });
    expect(Object.keys(own)).toEqual(['code', 'retryable', 'operation']);
  });
});

// Runs last: it reads the errors of all others.
test('no error contains an id, session data or a password', () => {
  expect(errors.length).toBeGreaterThan(20);
  for (const error of errors) {
    const { stored: _, ...shown } = Object.getOwnPropertyDescriptors(error);
    const text = inspect(Object.create(null, shown), { showHidden: true, depth: 9 }) + JSON.stringify(error);
    for (const secret of [ID, PASSWORD, SECRET]) expect(text).not.toContain(secret);
  }
});
