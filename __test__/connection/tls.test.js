'use strict';

const { execFile } = require('node:child_process');
const path = require('node:path');
const { inspect, promisify } = require('node:util');
const { RedisStore } = require('../..');
const { Certificates } = require('../support/certificates.js');
const { connectRaw, startRedis } = require('../support/redis.js');
const { closeAll, keepStore } = require('../support/stores.js');

const TRUSTING = path.join(__dirname, 'programs', 'trusting.js');
const limits = { commandTimeout: 1000, connectTimeout: 400 };

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
  certificates.makeCertificate('named-in-vain', 'DNS:redis.example', { commonName: 'localhost' });
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

const open = (tls, { host = 'localhost', scheme = 'rediss', at = server.tlsPort } = {}) =>
  keepStore(new RedisStore({ url: `${scheme}://${host}:${at}`, tls, ...limits }));

const failure = (...args) =>
  open(...args)
    .get('abc')
    .catch((reason) => reason);

async function isUsed(store) {
  await store.set('abc', { n: 1 });
  expect(await store.get('abc')).toEqual({ n: 1 });
}

describe('a server is trusted', () => {
  test.each([
    ['by a Buffer', () => ({ ca: pem('ca.crt') })],
    ['by a string', () => ({ ca: String(pem('ca.crt')) })],
    ['by one of several authorities', () => ({ ca: [pem('stranger.crt'), String(pem('ca.crt'))] })],
    ['by a bundle', () => ({ ca: Buffer.concat([pem('stranger.crt'), pem('ca.crt')]) })],
    ['whoever it is, if that is asked for', () => ({ rejectUnauthorized: false })],
  ])('%s', async (_what, tls) => {
    await isUsed(open(tls()));
  });

  test('by its own certificate, which is its own authority', async () => {
    await configure(serverCertificate('itself'));
    await isUsed(open({ ca: pem('itself.crt') }));
  });

  test('by the common name of a certificate that has no others', async () => {
    await configure(serverCertificate('named'));
    await isUsed(open({ ca: pem('ca.crt') }));
  });

  test('whatever its certificate is, if that is asked for', async () => {
    await configure(serverCertificate('old'));
    await isUsed(open({ rejectUnauthorized: false }));
  });

  test.each(['url', 'redis', 'ioredis'])('by what Node trusts beside its own roots (%s)', async (source) => {
    const env = { ...process.env, NODE_EXTRA_CA_CERTS: file('ca.crt') };
    const url = `rediss://localhost:${server.tlsPort}`;
    const { stdout } = await promisify(execFile)(process.execPath, [TRUSTING, source, url], { env });
    expect(stdout.trim()).toBe('native');
  });

  test('under another name than the host', async () => {
    await isUsed(open({ ca: pem('ca.crt'), servername: 'redis.example' }, { host: '127.0.0.1' }));
  });

  test('with redis:// and the option, too', async () => {
    await isUsed(open({ ca: pem('ca.crt') }, { scheme: 'redis' }));
  });
});

describe('a server that is not to be trusted is not used, and the error says why:', () => {
  const untrusted = async (pattern, ...args) => {
    const error = await failure(...args);
    expect(error).toMatchObject({ code: 'ERR_REDIS_UNAVAILABLE', message: expect.stringMatching(pattern) });
    expect(error.message).toMatch(/^get: no connection to rediss:\/\/.*certificate/);
  };

  test('an unknown authority', () => untrusted(/its issuer is not in "tls.ca"/, { ca: pem('stranger.crt') }));

  test('an authority that the system does not know', () => untrusted(/its issuer is not in "tls.ca"/, true));

  test('another host', () => untrusted(/not valid for name/i, { ca: pem('ca.crt') }, { host: '127.0.0.1' }));

  test('another name', () =>
    untrusted(/not valid for name/i, { ca: pem('ca.crt'), servername: 'other.example' }));

  test('another name than the common name', async () => {
    await configure(serverCertificate('named'));
    await untrusted(/not valid for name/i, { ca: pem('ca.crt'), servername: 'redis.example' });
  });

  test('an address in the place of a common name', async () => {
    await configure(serverCertificate('named'));
    await untrusted(/not valid for name/i, { ca: pem('ca.crt') }, { host: '127.0.0.1' });
  });

  test('a common name beside other names', async () => {
    await configure(serverCertificate('named-in-vain'));
    await untrusted(/not valid for name/i, { ca: pem('ca.crt') });
  });

  test('its own authority, which the app did not give', async () => {
    await configure(serverCertificate('itself'));
    await untrusted(/it is self-signed/, { ca: pem('ca.crt') });
  });

  test('its own authority under another name', async () => {
    await configure(serverCertificate('itself'));
    await untrusted(/not valid for name/i, { ca: pem('itself.crt'), servername: 'redis.example' });
  });

  test('its own authority that has expired', async () => {
    await configure(serverCertificate('itself-expired'));
    await untrusted(/expired/i, { ca: pem('itself-expired.crt') });
  });

  test('a certificate of an old version', async () => {
    await configure(serverCertificate('old'));
    await untrusted(/X\.509/, { ca: pem('ca.crt') });
  });

  test('a certificate that has expired, until it is replaced', async () => {
    await configure(serverCertificate('expired'));
    await untrusted(/expired/i, { ca: pem('ca.crt') });

    const store = open({ ca: pem('ca.crt') });
    const waiting = store.get('nobody');
    await configure(serverCertificate('server'));
    expect(await waiting).toBeNull();
  });
});

test('a port without TLS is named as one', async () => {
  const error = await failure({ ca: pem('ca.crt') }, { at: server.port });
  // Redis takes the beginning of TLS for the beginning of a command, and waits for its end.
  expect(error).toMatchObject({ code: 'ERR_REDIS_TIMEOUT' });
  expect(error.message).toMatch(/does it speak TLS on this port/);
});

test('a port with TLS, spoken to without, fails by the deadline and names the server', async () => {
  const error = await failure(undefined, { scheme: 'redis' });
  expect(error.code).toMatch(/^ERR_REDIS_(UNAVAILABLE|TIMEOUT)$/);
  expect(error.message).toContain(`redis://localhost:${server.tlsPort}`);
  expect(error.message).toContain('does it expect TLS: rediss:// or the "tls" option?');
});

describe('a server that wants a certificate of its clients', () => {
  beforeEach(() => configure({ 'tls-auth-clients': 'yes' }));

  test('is given it', async () => {
    await isUsed(open({ ca: pem('ca.crt'), ...own() }));
  });

  test('is given it as strings', async () => {
    await isUsed(open({ ca: pem('ca.crt'), cert: String(pem('app.crt')), key: String(pem('app.key')) }));
  });

  test('refuses a client without one, and the error says so', async () => {
    const error = await failure({ ca: pem('ca.crt') });
    expect(error).toMatchObject({ code: 'ERR_REDIS_UNAVAILABLE' });
    expect(error.message).toMatch(/certificate/i);
  });

  test('refuses a certificate of another authority, and the error says so', async () => {
    const error = await failure({ ca: pem('ca.crt'), cert: pem('stranger.crt'), key: pem('stranger.key') });
    expect(error).toMatchObject({ code: 'ERR_REDIS_UNAVAILABLE' });
    expect(error.message).toMatch(/TLS|certificate|alert/i);
  });
});

describe('settings that cannot be used are refused when the store is made, by their names:', () => {
  const refusal = (tls) => {
    let store;
    try {
      store = new RedisStore({ url: `rediss://localhost:${server.tlsPort}`, tls });
    } catch (error) {
      return error;
    }
    keepStore(store);
    throw new Error('taken');
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
  ])('%s, case %#', (field, tls) => {
    const error = refusal(tls());
    expect(error).toBeInstanceOf(TypeError);
    expect(error.code).toMatch(/^ERR_INVALID_ARG_(TYPE|VALUE)$/);
    expect(error.message).toContain(`"${field}"`);
    expect(inspect(error, { showHidden: true })).not.toContain(SECRET);
  });
});
