'use strict';

const { execFile } = require('node:child_process');
const path = require('node:path');
const { promisify } = require('node:util');
const { useRedis } = require('../support/redis.js');

const redis = useRedis();

// In its own process, since Jest cannot load the ES modules among Fastify's dependencies on every Node.
test('@fastify/session keeps its sessions in the store', async () => {
  const program = path.join(__dirname, 'programs', 'fastify.js');
  const { stdout } = await promisify(execFile)(process.execPath, [program, redis.server.url]);
  // After the logout, the visitor with the old cookie gets a new session.
  expect(JSON.parse(stdout)).toEqual({ seen: ['1', '2', 'out', '1'], sessions: 1 });
});
