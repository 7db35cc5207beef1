'use strict';

const { RedisStore } = require('../..');
const { Certificates } = require('../support/certificates.js');
const { startRedis } = require('../support/redis.js');
const { closeAll, keepStore } = require('../support/stores.js');
const { clients } = require('../support/unconnected.js');

let certificates;
let server;

beforeAll(async () => {
  certificates = new Certificates();
  certificates.makeAuthority('ca');
  certificates.makeAuthority('stranger');
  certificates.makeCertificate('server', 'DNS:localhost');
  certificates.makeCertificate('app', 'DNS:app.example');
  // The server requires client certificates.
  server = await startRedis({ tls: { ...certificates.ofServer('server'), clients: 'yes' } });
});
afterEach(closeAll);
afterAll(async () => {
  await server?.stop();
  certificates?.remove();
});

const pem = (name) => certificates.pem(name);
const own = () => ({ cert: pem('app.crt'), key: pem('app.key') });

function open(kind, settings, host = 'localhost') {
  const options = kind.startsWith('io') ? { tls: settings } : { socket: { tls: true, ...settings } };
  return keepStore(new RedisStore({ client: clients[kind](`rediss://${host}:${server.tlsPort}`, options) }));
}

describe.each(Object.keys(clients))('TLS settings of %s', (kind) => {
  test("the store presents the app's own certificate", async () => {
    const store = open(kind, { ca: pem('ca.crt'), ...own() });
    await store.set('abc', { n: 1 });
    expect(await store.get('abc')).toEqual({ n: 1 });
  });

  test('the store accepts several authorities, as strings', async () => {
    const ca = ['stranger.crt', 'ca.crt'].map((name) => String(pem(name)));
    expect(await open(kind, { ca, ...own() }).get('nobody')).toBeNull();
  });
});

// Runs all cases at once, since each is tried until its operation's deadline.
async function failures(cases) {
  const errors = await Promise.all(
    cases.map(([kind, ...place]) =>
      open(kind, ...place)
        .get('abc')
        .catch((reason) => reason),
    ),
  );
  expect(errors.map((error) => error?.code)).toEqual(cases.map(() => 'ERR_REDIS_UNAVAILABLE'));
  return errors.map((error) => error.message);
}

test("operations reject when the server's certificate cannot be verified", async () => {
  const messages = await failures([
    ['redis6', { ca: pem('stranger.crt'), ...own() }],
    ['ioredis6', { ca: pem('stranger.crt'), ...own() }],
    ['redis6', { ca: pem('ca.crt'), ...own() }, '127.0.0.1'], // a host that the certificate does not name
    ['ioredis6', { ca: pem('ca.crt'), ...own() }, '127.0.0.1'],
  ]);
  for (const message of messages) expect(message).toMatch(/certificate/i);
});
