'use strict';

// The test suites that connect-redis 8.1 and 10 publish in their packages, with the imports changed: the store to this
// package's, the clients to versions that it adopts, vitest to Jest.

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { startRedis } = require('../../scripts/redis.js');

const ROOT = path.join(__dirname, '..', '..');
const TSC = path.join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');

/** The only assertion that is changed: after `touch`, `all()` returns the current expiry, not that of the last save. */
const TOUCHED = ['expires: expires.toISOString()', 'expires: closeTo(expires2)'];
/** Version 8 expects a thousand sessions that expire after a second all to exist, which version 10 has corrected. */
const LIFETIME = ['Date.now() + 1000)', 'Date.now() + 60_000)'];
/** Redis counts from the arrival of a command. */
const LATENCY_MS = 5_000;

const closeTo = (date) => ({
  asymmetricMatch: (text) => Math.abs(Date.parse(text) - date) < LATENCY_MS,
  toString: () => `about ${date.toISOString()}`,
});

const compiled = compile(['connect-redis8', 'connect-redis10']);

/** Compiles the suites to CommonJS without checking their types, and returns their texts. */
function compile(names) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'suites-'));
  try {
    const sources = names.map((name) => {
      const text = fs.readFileSync(path.join(ROOT, 'node_modules', name, 'index_test.ts'), 'utf8');
      if (text.split(TOUCHED[0]).length !== 2)
        throw new Error(
          `The suite of ${name} does not have the assertion on a touched session exactly once.`,
        );
      const file = path.join(folder, `${name}.cts`);
      fs.writeFileSync(file, text.replace(...TOUCHED).replace(...LIFETIME));
      return file;
    });
    const options = ['--noCheck', '--noResolve', '--module', 'commonjs', '--target', 'es2022', '--types', ''];
    execFileSync(process.execPath, [TSC, ...options, ...sources]);
    return Object.fromEntries(
      names.map((name) => [name, fs.readFileSync(path.join(folder, `${name}.cjs`), 'utf8')]),
    );
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

/** Declares the tests of a suite. A test that fails leaves its client open, so all of them are closed at the end. */
function declare(suite, redis, ioredis) {
  const clients = [];
  const keep = (client) => {
    clients.push(client);
    return client.on('error', () => {});
  };
  let server;
  afterAll(async () => {
    for (const client of clients) if (client.status !== 'end') await close(client);
    await server.stop();
  });

  const testdata = {
    // An ES module, whose exports are read when they are used.
    __esModule: true,
    async connect() {
      server = await startRedis();
      testdata.port = server.port;
    },
    disconnect: () => server.stop(),
  };
  const modules = {
    './': require('../..'),
    './testdata/server': testdata,
    'express-session': require('express-session'),
    vitest: { expect, test },
    redis: { createClient: (options) => keep(redis.createClient(options)) },
    ioredis: {
      Redis: function Redis(url) {
        return keep(new ioredis(url));
      },
    },
  };
  const load = (name) => {
    if (!Object.hasOwn(modules, name))
      throw new Error(`The suite imports ${name}, which has no counterpart here.`);
    return modules[name];
  };
  new Function('require', 'exports', 'closeTo', compiled[suite])(load, {}, closeTo);
}

async function close(client) {
  try {
    await (client.destroy ?? client.disconnect).call(client);
  } catch {
    // The suite has closed it.
  }
}

describe.each([
  ['connect-redis8', 'redis4', 'ioredis5'],
  ['connect-redis8', 'redis5', 'ioredis4'],
  ['connect-redis8', 'redis', 'ioredis'],
  ['connect-redis10', 'redis5', 'ioredis'],
  ['connect-redis10', 'redis', 'ioredis'],
])('the suite of %s on %s and %s', (suite, redis, ioredis) => {
  declare(suite, require(redis), require(ioredis).default ?? require(ioredis));
});
