'use strict';

const { execFile } = require('node:child_process');
const path = require('node:path');
const { inspect, promisify } = require('node:util');
const { RedisStore } = require('../..');
const { Certificates } = require('../support/certificates.js');
const { connectRaw, startRedis } = require('../support/redis.js');
const { closeAll, keepStore } = require('../support/stores.js');
const { HANG_MS } = require('../support/until.js');

const PROGRAM = path.join(__dirname, 'programs', 'tls-store.js');
/** For operations that fail; a connection takes less time on any machine. */
const limits = { commandTimeout: 1500, connectTimeout: 1000 };

let certificates;
let server;
let raw;

beforeAll(async () => {
  certificates = new Certificates();
  certificates.makeAuthority('ca');
  certificates.makeAuthority('stranger');
  certificates.makeCertificate('server', 'DNS:localhost,DNS:redis.example');
  certificates.makeCertificate('expired', 'DNS:localhost', { days: -1 });
  certificates.makeCertificate('app', 'DNS:app.example');
  certificates.makeSelfSigned('itself', 'DNS:localhost');
  certificates.makeSelfSigned('itself-expired', 'DNS:localhost', { days: -1 });
  certificates.makeCertificate('named', undefined, { commonName: 'localhost' });
  certificates.makeCertificate('named-otherwise', 'DNS:redis.example', { commonName: 'localhost' });
  certificates.makeOld('old', 'localhost');
  server = await startRedis({ tls: certificates.ofServer('server') });
  raw = await connectRaw(server.port);
});
afterEach(async () => {
  await closeAll();
  await configure({ 'tls-auth-clients': 'no', ...serverCertificate('server') });
});
afterAll(async () => {
  await raw?.close();
  await server?.stop();
  certificates?.remove();
});

const file = (name) => certificates.file(name);
const pem = (name) => certificates.pem(name);
const serverCertificate = (name) => ({
  'tls-cert-file': file(`${name}.crt`),
  'tls-key-file': file(`${name}.key`),
});
const own = () => ({ cert: pem('app.crt'), key: pem('app.key') });

async function configure(settings) {
  expect(await raw.command('CONFIG', 'SET', ...Object.entries(settings).flat())).toBe('OK');
}

const open = (tls, { host = 'localhost', scheme = 'rediss', at = server.tlsPort, ...options } = {}) =>
  keepStore(new RedisStore({ url: `${scheme}://${host}:${at}`, tls, commandTimeout: HANG_MS, ...options }));

const failure = (tls, place) =>
  open(tls, { ...place, ...limits })
    .get('abc')
    .catch((reason) => reason);

async function isUsed(store) {
  await store.set('abc', { n: 1 });
  expect(await store.get('abc')).toEqual({ n: 1 });
}

describe('a server with a valid certificate', () => {
  test.each([
    ['by a Buffer', () => ({ ca: pem('ca.crt') })],
    ['by a string', () => ({ ca: String(pem('ca.crt')) })],
    ['by one of several authorities', () => ({ ca: [pem('stranger.crt'), String(pem('ca.crt'))] })],
    ['by a bundle', () => ({ ca: Buffer.concat([pem('stranger.crt'), pem('ca.crt')]) })],
    ['by nothing, with rejectUnauthorized false', () => ({ rejectUnauthorized: false })],
  ])('a store connects to a server that is verified %s', async (_what, tls) => {
    await isUsed(open(tls()));
  });

  test('a store connects to a server whose self-signed certificate is in `ca`', async () => {
    await configure(serverCertificate('itself'));
    await isUsed(open({ ca: pem('itself.crt') }));
  });

  test('a store connects to a server that is verified by its common name, without alternative names', async () => {
    await configure(serverCertificate('named'));
    await isUsed(open({ ca: pem('ca.crt') }));
  });

  test('a store connects to a server with any certificate when rejectUnauthorized is false', async () => {
    await configure(serverCertificate('old'));
    await isUsed(open({ rejectUnauthorized: false }));
  });

  test.each(['url', 'redis', 'ioredis'])(
    'a store connects to a server that is verified by NODE_EXTRA_CA_CERTS (%s)',
    async (source) => {
      const env = { ...process.env, NODE_EXTRA_CA_CERTS: file('ca.crt') };
      const url = `rediss://localhost:${server.tlsPort}`;
      const { stdout } = await promisify(execFile)(process.execPath, [PROGRAM, source, url], { env });
      expect(stdout.trim()).toBe('native');
    },
  );

  test('a store connects to a server that is verified by the servername', async () => {
    await isUsed(open({ ca: pem('ca.crt'), servername: 'redis.example' }, { host: '127.0.0.1' }));
  });

  test('a store connects with TLS by redis:// and the option `tls`', async () => {
    await isUsed(open({ ca: pem('ca.crt') }, { scheme: 'redis' }));
  });
});

describe('a server with an invalid certificate', () => {
  const untrusted = async (pattern, ...args) => {
    const error = await failure(...args);
    expect(error).toMatchObject({ code: 'ERR_REDIS_UNAVAILABLE', message: expect.stringMatching(pattern) });
    expect(error.message).toMatch(/^get failed: no connection .*rediss:\/\/.*certificate/);
  };

  test('an operation rejects when the authority is unknown', () =>
    untrusted(/its issuer is not in "tls.ca"/, { ca: pem('stranger.crt') }));

  test('an operation rejects when the system does not know the authority', () =>
    untrusted(/its issuer is not in "tls.ca"/, true));

  test('an operation rejects when the certificate is for another host', () =>
    untrusted(/not valid for the host/i, { ca: pem('ca.crt') }, { host: '127.0.0.1' }));

  test('an operation rejects when the certificate is for another name than servername', () =>
    untrusted(/not valid for the host/i, { ca: pem('ca.crt'), servername: 'other.example' }));

  test('an operation rejects when the common name is not servername', async () => {
    await configure(serverCertificate('named'));
    await untrusted(/not valid for the host/i, { ca: pem('ca.crt'), servername: 'redis.example' });
  });

  test('an operation rejects when the url has an address and the certificate a common name', async () => {
    await configure(serverCertificate('named'));
    await untrusted(/not valid for the host/i, { ca: pem('ca.crt') }, { host: '127.0.0.1' });
  });

  test('an operation rejects when the common name matches, but the alternative names do not', async () => {
    await configure(serverCertificate('named-otherwise'));
    await untrusted(/not valid for the host/i, { ca: pem('ca.crt') });
  });

  test('an operation rejects when a self-signed certificate is not in `ca`', async () => {
    await configure(serverCertificate('itself'));
    await untrusted(/it is self-signed/, { ca: pem('ca.crt') });
  });

  test('an operation rejects when a self-signed certificate in `ca` has another name', async () => {
    await configure(serverCertificate('itself'));
    await untrusted(/not valid for the host/i, { ca: pem('itself.crt'), servername: 'redis.example' });
  });

  test('an operation rejects when a self-signed certificate in `ca` has expired', async () => {
    await configure(serverCertificate('itself-expired'));
    await untrusted(/expired/i, { ca: pem('itself-expired.crt') });
  });

  test('an operation rejects when the certificate has an old version of X.509', async () => {
    await configure(serverCertificate('old'));
    await untrusted(/X\.509/, { ca: pem('ca.crt') });
  });

  test('an operation rejects when the certificate has expired, and succeeds once it is replaced', async () => {
    await configure(serverCertificate('expired'));
    await untrusted(/expired/i, { ca: pem('ca.crt') });

    const store = open({ ca: pem('ca.crt') });
    const waiting = store.get('nobody');
    await configure(serverCertificate('server'));
    expect(await waiting).toBeNull();
  });
});

test('an operation rejects with a hint when the port has no TLS', async () => {
  const error = await failure({ ca: pem('ca.crt') }, { at: server.port });
  // Redis reads the TLS handshake as the beginning of a command, and waits for the rest.
  expect(error).toMatchObject({ code: 'ERR_REDIS_TIMEOUT' });
  expect(error.message).toMatch(/does it speak TLS on this port/);
});

test('an operation without TLS on a TLS port rejects by its deadline with the name of the server', async () => {
  const error = await failure(undefined, { scheme: 'redis' });
  expect(error.code).toMatch(/^ERR_REDIS_(UNAVAILABLE|TIMEOUT)$/);
  expect(error.message).toContain(`redis://localhost:${server.tlsPort}`);
  expect(error.message).toContain('does it expect TLS: rediss:// or the "tls" option?');
});

describe('a server that requires client certificates', () => {
  beforeEach(() => configure({ 'tls-auth-clients': 'yes' }));

  test('a store presents its client certificate', async () => {
    await isUsed(open({ ca: pem('ca.crt'), ...own() }));
  });

  test('a store presents its client certificate from strings', async () => {
    await isUsed(open({ ca: pem('ca.crt'), cert: String(pem('app.crt')), key: String(pem('app.key')) }));
  });

  test('an operation rejects with the reason when the client certificate is missing', async () => {
    const error = await failure({ ca: pem('ca.crt') });
    expect(error).toMatchObject({ code: 'ERR_REDIS_UNAVAILABLE' });
    expect(error.message).toMatch(/certificate/i);
  });

  test('an operation rejects with the reason when the client certificate has another authority', async () => {
    const error = await failure({ ca: pem('ca.crt'), cert: pem('stranger.crt'), key: pem('stranger.key') });
    expect(error).toMatchObject({ code: 'ERR_REDIS_UNAVAILABLE' });
    expect(error.message).toMatch(/TLS|certificate|alert/i);
  });
});

describe('invalid TLS settings', () => {
  const refusal = (tls) => {
    let store;
    try {
      store = new RedisStore({ url: `rediss://localhost:${server.tlsPort}`, tls });
    } catch (error) {
      return error;
    }
    keepStore(store);
    throw new Error('accepted');
  };
  const SECRET = 'bm90IGEga2V5';
  const broken = `-----BEGIN PRIVATE KEY-----\n${SECRET}\n-----END PRIVATE KEY-----\n`;

  test.each([
    ['tls', () => 17],
    ['tls', () => 'yes'],
    ['tls.ca', () => ({ ca: 17 })],
    ['tls.ca', () => ({ ca: '/etc/ssl/ca.pem' })],
    ['tls.ca', () => ({ ca: '' })],
    ['tls.ca', () => ({ ca: pem('app.key') })],
    ['tls.cert', () => ({ cert: 'no certificate', key: pem('app.key') })],
    ['tls.key', () => ({ cert: pem('app.crt'), key: 'no key' })],
    ['tls.key', () => ({ cert: pem('app.crt'), key: broken })],
    ['tls.key', () => ({ cert: pem('app.crt') })],
    ['tls.cert', () => ({ key: pem('app.key') })],
    ['tls.cert', () => ({ cert: pem('app.crt'), key: pem('stranger.key') })],
    ['tls.servername', () => ({ servername: 17 })],
    ['tls.servername', () => ({ servername: 'no host name!' })],
    ['tls.rejectUnauthorized', () => ({ rejectUnauthorized: 'no' })],
  ])('the constructor rejects the setting %s, case %#', (field, tls) => {
    const error = refusal(tls());
    expect(error).toBeInstanceOf(TypeError);
    expect(error.code).toMatch(/^ERR_INVALID_ARG_(TYPE|VALUE)$/);
    expect(error.message).toContain(`"${field}"`);
    expect(inspect(error, { showHidden: true })).not.toContain(SECRET);
  });
});
