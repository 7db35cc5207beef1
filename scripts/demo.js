'use strict';

// npm run demo: set-up, a Redis that keeps its data, and the app of examples/demo.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { ask, startRedis } = require('./redis.js');
const { setUp } = require('./setup.js');

/** Always the same, so that sessions outlive the demo and its Redis. */
const DATA = path.join(os.tmpdir(), 'connect-redis-native-demo');

/** A Redis for the demo: `{ url, stop }`. */
async function demoRedis() {
  fs.mkdirSync(DATA, { recursive: true, mode: 0o700 });
  const unixSocket = path.join(DATA, 'redis.sock');
  // Two servers on the same files would spoil them, so a second demo joins the first.
  if (await isServed(unixSocket)) {
    return { url: `redis+unix://${unixSocket}`, async stop() {} };
  }
  return startRedis({ dir: DATA, unixSocket, args: ['--appendonly', 'yes'] });
}

async function isServed(unixSocket) {
  try {
    await ask(unixSocket, 'PING');
    return true;
  } catch {
    return false;
  }
}

async function main() {
  const given = process.env.REDIS_URL;
  await setUp({ redis: !given });
  // Only now, since it needs what the set-up installs and builds.
  const { serve } = require('../examples/demo/server.js');
  if (given) {
    await serve(given);
    return;
  }
  const redis = await demoRedis();
  try {
    await serve(redis.url);
  } finally {
    await redis.stop();
  }
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
