'use strict';

const { execFileSync, fork } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { findProgram } = require('../../scripts/programs.js');
const { Certificates } = require('../support/certificates.js');
const { connectRaw, startRedis } = require('../support/redis.js');
const { NEVER_MS, until } = require('../support/until.js');

// System calls of a process fail for a while. No failure is permanent.

const compiler = process.platform === 'linux' ? findProgram('cc') : null;
const describeFaults = compiler === null ? describe.skip : describe;

let folder;
let certificates;
let server;
let raw;
let child;
let messages;

beforeAll(async () => {
  if (compiler === null) return;
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'faults-'));
  const source = path.join(__dirname, '..', 'support', 'shim.c');
  execFileSync(compiler, ['-shared', '-fPIC', '-o', path.join(folder, 'shim.so'), source, '-ldl']);
  certificates = new Certificates();
  certificates.makeAuthority('ca');
  certificates.makeCertificate('server', 'DNS:localhost');
  server = await startRedis({ tls: certificates.ofServer('server') });
  raw = await connectRaw(server.port);
});
afterEach(() => {
  child?.kill('SIGKILL');
  for (const name of fs.readdirSync(folder)) if (!name.endsWith('.so')) fs.rmSync(path.join(folder, name));
});
afterAll(async () => {
  await raw?.close();
  await server?.stop();
  certificates?.remove();
  if (folder) fs.rmSync(folder, { recursive: true, force: true });
});

const fault = (name) => path.join(folder, name);

async function start(options) {
  const env = { ...process.env, LD_PRELOAD: fault('shim.so'), FAULTS: folder };
  child = fork(
    path.join(__dirname, 'programs', 'faulty.js'),
    [JSON.stringify({ ...options, commandTimeout: NEVER_MS })],
    { env },
  );
  messages = [];
  await once(child, 'message');
  child.on('message', (message) => messages.push(message));
}

const results = () => messages.filter(({ event }) => event === undefined);

/** Expects the next operations to succeed. */
async function expectServed() {
  const before = results().length;
  child.send('go');
  await until(() => results().length > before);
  expect(results().at(-1)).toEqual({ result: { n: 1 } });
}

const ways = {
  'a name': () => ({ url: `redis://localhost:${server.port}` }),
  TLS: () => ({
    url: `rediss://localhost:${server.tlsPort}`,
    tls: { ca: String(certificates.pem('ca.crt')) },
  }),
};

describeFaults.each([
  ['pthread_create', 'a name'],
  ['pthread_create', 'TLS'],
  ['getaddrinfo', 'a name'],
  ['socket', 'a name'],
  ['socket', 'TLS'],
])('%s', (call, way) => {
  test(`operations succeed after a system call failed before the first connection by ${way}`, async () => {
    fs.writeFileSync(fault(call), '');
    await start(ways[way]());
    child.send('go');
    await until(() => fs.existsSync(fault(`${call}.failed`)));
    await until(() => messages.some(({ event }) => event === 'error'));
    fs.rmSync(fault(call));
    await until(() => results().length > 0);
    expect(results()).toEqual([{ result: { n: 1 } }]);
    expect(child.exitCode).toBeNull();
  });

  test(`operations succeed after a system call failed during a reconnect by ${way}`, async () => {
    await start(ways[way]());
    await expectServed();
    fs.writeFileSync(fault(call), '');
    await raw.command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    await until(() => fs.existsSync(fault(`${call}.failed`)));
    await until(() => messages.some(({ event }) => event === 'error'));
    fs.rmSync(fault(call));
    await expectServed();
    expect(child.exitCode).toBeNull();
  });
});
