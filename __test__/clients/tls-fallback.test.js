'use strict';

const { execFile, execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { promisify } = require('node:util');
const { RedisStore } = require('../..');
const { Certificates } = require('../support/certificates.js');
const { connectRaw, startRedis } = require('../support/redis.js');
const { closeAll, keepStore, openClient } = require('../support/stores.js');
const { until } = require('../support/until.js');

// TLS settings and servers that Node accepts: carried over, or commands run on the client.

const CODE = 'REDIS_STORE_CLIENT_TRANSPORT';
const kinds = ['redis6', 'ioredis6'];

let certificates;
let server;
let raw;
let emitWarning;
/** Returns the warnings that the app received. jest's `process` has no `warning` events. */
const warnings = () =>
  emitWarning.mock.calls.filter(([, { code } = {}]) => code === CODE).map(([message]) => message);

beforeAll(async () => {
  certificates = new Certificates();
  certificates.makeAuthority('ca');
  certificates.makeCertificate('server', 'DNS:localhost,IP:127.0.0.1');
  certificates.makeCertificate('rsa', 'DNS:localhost,IP:127.0.0.1');
  for (const [name, ...key] of [
    ['p521', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-521'],
    ['pss', 'RSA-PSS', '-pkeyopt', 'rsa_keygen_bits:2048'],
    ['rsa', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048'],
  ]) {
    const openssl = (...args) =>
      execFileSync('openssl', args, { cwd: path.dirname(file('ca.crt')), stdio: 'ignore' });
    fs.writeFileSync(file(`${name}.ext`), 'subjectAltName=DNS:localhost,IP:127.0.0.1');
    openssl('genpkey', '-algorithm', ...key, '-out', `${name}.key`);
    openssl('req', '-new', '-key', `${name}.key`, '-subj', `/CN=${name}`, '-out', `${name}.csr`);
    openssl(
      ...['x509', '-req', '-in', `${name}.csr`, '-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial'],
      ...['-days', '2', '-extfile', `${name}.ext`, '-out', `${name}.crt`],
    );
  }
  execFileSync('openssl', ['x509', '-in', file('ca.crt'), '-trustout', '-out', file('trusted.crt')]);
  server = await startRedis({ tls: { ...certificates.ofServer('server'), clients: 'optional' } });
  raw = await connectRaw(server.port);
});
beforeEach(() => {
  emitWarning = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
});
afterEach(async () => {
  await closeAll();
  emitWarning.mockRestore();
  await configure('server', { 'tls-protocols': '', 'tls-ciphers': 'DEFAULT' });
});
afterAll(async () => {
  await raw?.close();
  await server?.stop();
  certificates?.remove();
});

const file = (name) => certificates.file(name);
const pem = (name) => certificates.pem(name);

async function configure(certificate, settings = {}) {
  const pair = { 'tls-cert-file': file(`${certificate}.crt`), 'tls-key-file': file(`${certificate}.key`) };
  const all = Object.entries({ ...pair, ...settings }).flat();
  expect(await raw.command('CONFIG', 'SET', ...all)).toBe('OK');
}

const connect = (kind, settings) =>
  openClient(
    kind,
    server.tlsPort,
    kind.startsWith('io') ? { tls: settings } : { socket: { tls: true, ...settings } },
  );

async function serves(store) {
  await store.set('abc', { n: 1 });
  expect(await store.get('abc')).toEqual({ n: 1 });
}

describe.each(kinds)('%s', (kind) => {
  test.each([
    ['ciphers', () => ({ ciphers: 'ECDHE+AESGCM:TLS_AES_256_GCM_SHA384' }), /"ciphers"/],
    ['minVersion', () => ({ minVersion: 'TLSv1.3' }), /"minVersion"/],
    ['a TRUSTED CERTIFICATE as ca', () => ({ ca: pem('trusted.crt') }), /"ca" has a TRUSTED CERTIFICATE/],
    ['a key of P-521', () => ({ cert: pem('p521.crt'), key: pem('p521.key') }), /"tls\.(cert|key)"/],
    ['a key of RSA-PSS', () => ({ cert: pem('pss.crt'), key: pem('pss.key') }), /"tls\.(cert|key)"/],
  ])(
    'a client with %s runs the commands, and a warning names the setting',
    async (_what, settings, reason) => {
      const client = await connect(kind, { ca: pem('ca.crt'), ...settings() });
      const stores = [1, 2].map(() => keepStore(new RedisStore({ client })));
      for (const store of stores) {
        expect(store.transport).toBe('client');
        await serves(store);
      }
      expect(warnings()).toEqual([expect.stringMatching(reason)]);
      expect(keepStore(new RedisStore({ client, transport: 'client' })).transport).toBe('client');
      expect(() => new RedisStore({ client, transport: 'native' })).toThrow(TypeError);
    },
  );

  test.each([
    ['a key exchange without forward secrecy', 'rsa', 'AES256-GCM-SHA384'],
    ['cipher suites of CBC alone', 'rsa', 'ECDHE-RSA-AES256-SHA384'],
    ['a certificate of P-521', 'p521', 'DEFAULT'],
  ])('a client that is connected to a server with %s runs the commands', async (_what, name, ciphers) => {
    await configure(name, { 'tls-protocols': name === 'rsa' ? 'TLSv1.2' : '', 'tls-ciphers': ciphers });
    const client = await connect(kind, { ca: pem('ca.crt') });
    const store = keepStore(new RedisStore({ client }));
    // They wait for the handshake that fails.
    const first = [1, 2].map((n) => store.set('first', { n }));
    await until(() => store.transport === 'client');
    const last = store.set('first', { n: 3 });
    expect(await Promise.all([...first, last])).toEqual([null, null, null]);
    expect(await store.get('first')).toEqual({ n: 3 });
    await store.destroy('first');
    await serves(store);
    expect(await store.ids()).toEqual(['abc']);
    expect(store.status).toBe('ready');
    expect(warnings()).toEqual([expect.stringMatching(/TLS handshake|certificate/)]);
  });

  test('a byte order mark in ca is skipped', async () => {
    const ca = `\uFEFF${pem('ca.crt')}`;
    const store = keepStore(new RedisStore({ client: await connect(kind, { ca: pem('ca.crt') }) }));
    await serves(store);
    const marked = await connect(kind, { ca: [ca, pem('ca.crt')] });
    const other = keepStore(new RedisStore({ client: marked }));
    await serves(other);
    expect(other.transport).toBe('native');
    await serves(keepStore(new RedisStore({ url: `rediss://localhost:${server.tlsPort}`, tls: { ca } })));
  });
});

test("an operation rejects with the TLS error when a handshake fails and transport is 'native'", async () => {
  await configure('rsa', { 'tls-protocols': 'TLSv1.2', 'tls-ciphers': 'AES256-GCM-SHA384' });
  const client = await connect('ioredis6', { ca: pem('ca.crt') });
  const store = keepStore(new RedisStore({ client, transport: 'native', commandTimeout: 2000 }));
  await expect(store.get('abc')).rejects.toMatchObject({
    code: 'ERR_REDIS_UNAVAILABLE',
    message: expect.stringContaining('TLS handshake'),
  });
  expect(store.transport).toBe('native');
});

test.each(['url', 'redis', 'ioredis'])(
  'NODE_TLS_REJECT_UNAUTHORIZED=0 applies to a store by %s',
  async (source) => {
    const program = path.join(__dirname, '..', 'connection', 'programs', 'tls-store.js');
    const env = { ...process.env, NODE_TLS_REJECT_UNAUTHORIZED: '0' };
    const url = `rediss://localhost:${server.tlsPort}`;
    const { stdout } = await promisify(execFile)(process.execPath, [program, source, url], { env });
    expect(stdout.trim()).toBe('native');
  },
);
