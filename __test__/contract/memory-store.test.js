'use strict';

// The test suites of express-session and @fastify/session run outside Jest, since the npm packages leave them out: see
// scripts/suites.js. This test shows that they run on this package's store.

const { execFile } = require('node:child_process');
const path = require('node:path');
const { promisify } = require('node:util');
const { useRedis } = require('../support/redis.js');

const ROOT = path.join(__dirname, '..', '..');
const PRELOADED = path.join(__dirname, 'memory-store.js');

const redis = useRedis();

test.each(['express-session', '@fastify/session'])(
  "the MemoryStore of %s is this package's store, each with its own prefix, under the preload",
  async (name) => {
    const program = `
    const session = require(process.env.SESSION_PACKAGE);
    const { RedisStore } = require('.');
    for (const store of [new session.MemoryStore(), new session.MemoryStore()])
      store.set('abc', { cookie: {} }, (error) => {
        console.log(store instanceof RedisStore, store instanceof session.Store, error);
      });
  `;
    const { stdout } = await promisify(execFile)(process.execPath, ['--require', PRELOADED, '-e', program], {
      cwd: ROOT,
      env: {
        ...process.env,
        SESSION_PACKAGE: path.join(ROOT, 'node_modules', name),
        REDIS_URL: redis.server.url,
      },
    });
    expect(stdout).toBe('true true null\ntrue true null\n');
    expect(await redis.keys()).toEqual([
      expect.stringMatching(/^store-\d+-0:abc$/),
      expect.stringMatching(/^store-\d+-1:abc$/),
    ]);
  },
);
