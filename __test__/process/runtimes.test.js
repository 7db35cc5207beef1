'use strict';

const { execFile } = require('node:child_process');
const path = require('node:path');
const { promisify } = require('node:util');
const { runtimeBinary } = require('../../scripts/runtime-binary.js');
const { useRedis } = require('../support/redis.js');

const ROOT = path.join(__dirname, '..', '..');
const PROGRAM = path.join(__dirname, 'programs', 'smoke.cjs');
const LAST_ACT = path.join(__dirname, 'programs', 'last-act.cjs');
const IMPORTS = path.join(__dirname, '..', 'contract', 'programs', 'imports.mjs');
// A process that does not end is killed, which fails its test.
const LIMIT_MS = 100_000;

const redis = useRedis();

const runtimes = {
  Node: { binary: process.execPath, args: [], testArgs: ['--test'] },
  Bun: { binary: runtimeBinary('bun'), args: [], testArgs: ['test'] },
  Deno: {
    binary: runtimeBinary('deno'),
    args: ['run', '--allow-all'],
    testArgs: ['test', '--allow-all', '--no-check'],
  },
};

for (const [name, { binary, args, testArgs }] of Object.entries(runtimes)) {
  // npm does not have every runtime for every platform.
  const testOf = binary === null ? test.skip : test;
  const execute = (command, env) =>
    promisify(execFile)(binary, command, {
      cwd: ROOT,
      env: { ...process.env, ...env },
      timeout: LIMIT_MS,
      killSignal: 'SIGKILL',
    });
  const run = async (...program) => (await execute([...args, ...program])).stdout.trim();

  testOf(`an Express app works under ${name}`, async () => {
    expect(await run(PROGRAM, redis.server.url)).toBe('closed');
  });

  testOf(`an ES module under ${name} imports the same class under every name`, async () => {
    expect(await run(IMPORTS)).toBe('one class');
  });

  // A crash while the runtime ends shows only in the exit code, which makes `execute` reject.
  testOf.each([
    'close a store',
    'close an Express app',
    'leave operations in flight',
    'leave timers that use the store',
  ])(`${name}'s test runner ends without an error when the last act of a file is to %s`, async (lastAct) => {
    const env = { LAST_ACT: lastAct, REDIS_URL: redis.server.url };
    const { stdout, stderr } = await execute([...testArgs, LAST_ACT], env);
    expect(`${stdout}${stderr}`).toContain(lastAct);
  });
}
