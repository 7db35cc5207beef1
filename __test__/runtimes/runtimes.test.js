'use strict';

const { execFile } = require('node:child_process');
const path = require('node:path');
const { promisify } = require('node:util');
const { runtimeBinary } = require('../../scripts/runtime-binary.js');
const { useRedis } = require('../support/redis.js');

const PROGRAM = path.join(__dirname, 'programs', 'smoke.cjs');
// One that does not end is killed, which fails its test.
const LIMIT_MS = 25_000;

const redis = useRedis();

const runtimes = {
  Node: { binary: process.execPath, args: [] },
  Bun: { binary: runtimeBinary('bun'), args: [] },
  Deno: { binary: runtimeBinary('deno'), args: ['run', '--allow-all'] },
};

for (const [name, { binary, args }] of Object.entries(runtimes)) {
  // npm does not carry every runtime for every platform.
  (binary === null ? test.skip : test)(`an Express app under ${name}`, async () => {
    const { stdout } = await promisify(execFile)(binary, [...args, PROGRAM, redis.server.url], {
      timeout: LIMIT_MS,
      killSignal: 'SIGKILL',
    });
    expect(stdout.trim()).toBe('closed');
  });
}
