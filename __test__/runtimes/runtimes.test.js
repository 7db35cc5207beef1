'use strict';

const { execFile } = require('node:child_process');
const path = require('node:path');
const { promisify } = require('node:util');
const { runtimeBinary } = require('../../scripts/runtime-binary.js');
const { useRedis } = require('../support/redis.js');

const PROGRAM = path.join(__dirname, 'programs', 'smoke.cjs');
const IMPORTS = path.join(__dirname, '..', 'contract', 'programs', 'imports.mjs');
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
  const testOf = binary === null ? test.skip : test;
  const run = async (...program) => {
    const { stdout } = await promisify(execFile)(binary, [...args, ...program], {
      timeout: LIMIT_MS,
      killSignal: 'SIGKILL',
    });
    return stdout.trim();
  };

  testOf(`an Express app under ${name}`, async () => {
    expect(await run(PROGRAM, redis.server.url)).toBe('closed');
  });

  testOf(`an ES module under ${name} gets the same class by every name`, async () => {
    expect(await run(IMPORTS)).toBe('one class');
  });
}
