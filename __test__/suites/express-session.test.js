'use strict';

// express-session's own tests run in a job of their own, as its npm package leaves them out: see scripts/suites.js. Here
// is shown that what they run on is this package's store.

const { execFile } = require('node:child_process');
const path = require('node:path');
const { promisify } = require('node:util');
const { useRedis } = require('../support/redis.js');

const ROOT = path.join(__dirname, '..', '..');
const COPY = path.join(ROOT, 'node_modules', 'express-session');
const PRELOADED = path.join(__dirname, 'memory-store.js');

const redis = useRedis();

test("express-session's MemoryStore is this package's store, each with its own prefix, under the preload", async () => {
  const program = `
    const session = require(process.env.EXPRESS_SESSION);
    const { RedisStore } = require('.');
    for (const store of [new session.MemoryStore(), new session.MemoryStore()])
      store.set('abc', { cookie: {} }, (error) => {
        console.log(store instanceof RedisStore, store instanceof session.Store, error);
      });
  `;
  const { stdout } = await promisify(execFile)(process.execPath, ['--require', PRELOADED, '-e', program], {
    cwd: ROOT,
    env: { ...process.env, EXPRESS_SESSION: COPY, REDIS_URL: redis.server.url },
  });
  expect(stdout).toBe('true true null\ntrue true null\n');
  expect(await redis.keys()).toEqual([
    expect.stringMatching(/^store-\d+-0:abc$/),
    expect.stringMatching(/^store-\d+-1:abc$/),
  ]);
});
