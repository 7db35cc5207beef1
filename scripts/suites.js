'use strict';

// Runs the test suite of express-session or @fastify/session with this package's store in place of MemoryStore, and
// compares the results with those on MemoryStore. The npm packages leave the tests out, so they come from a checkout:
//
//   git clone --depth 1 --branch v1.19.0 https://github.com/expressjs/session && (cd session && npm install)
//   node scripts/suites.js session

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { startRedis } = require('./redis.js');

const PRELOADED = path.join(__dirname, '..', '__test__', 'contract', 'memory-store.js');

const SUITES = {
  'express-session': { run: runMocha, exceptions: [] },
  '@fastify/session': {
    run: runNodeTests,
    exceptions: [
      // They read or fill the Map inside MemoryStore.
      'should save the session properly',
      'should support multiple secrets',
      // They end without waiting for the store, so only one that calls back before it returns passes them.
      'should decryptSession with custom request object',
      'should decryptSession with custom cookie options',
      'Custom options',
    ],
  },
};

async function main(checkout) {
  if (checkout === undefined || !fs.existsSync(path.join(checkout, 'test')))
    throw new Error(
      'Usage: node scripts/suites.js <checkout of express-session or @fastify/session with its tests>',
    );
  const folder = path.resolve(checkout);
  const { run, exceptions } =
    SUITES[JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8')).name];

  const reference = run(folder, [], process.env);
  const server = await startRedis();
  try {
    const env = { ...process.env, SESSION_PACKAGE: folder, REDIS_URL: server.url };
    const results = run(folder, ['--require', PRELOADED], env);
    if (results.length === 0 || results.length !== reference.length)
      throw new Error(`${results.length} tests ran, and ${reference.length} on MemoryStore.`);

    const counts = { passed: 0, failed: 0, excepted: 0, 'failed on MemoryStore too': 0 };
    results.forEach(({ title, error }, index) => {
      const excepted = exceptions.includes(title);
      if (error !== undefined && reference[index].error !== undefined) {
        counts['failed on MemoryStore too']++;
        console.log(`fails on MemoryStore too: ${title}`);
      } else if (error === undefined && !excepted) counts.passed++;
      else if (error !== undefined && excepted) counts.excepted++;
      else {
        counts.failed++;
        console.log(excepted ? `passes, and is an exception: ${title}` : `failed: ${title}\n  ${error}`);
      }
    });
    console.log(
      Object.entries(counts)
        .map(([name, count]) => `${count} ${name}`)
        .join(', '),
    );
    if (counts.failed > 0) process.exitCode = 1;
  } finally {
    await server.stop();
  }
}

/** Returns the title and, if it failed, the error of every test, in the order in which they ran. */
function runMocha(folder, preload, env) {
  const mocha = require.resolve('mocha/bin/mocha.js', { paths: [folder] });
  const report = path.join(folder, 'report.json');
  const options = ['--require', './test/support/env', ...preload, '--exit'];
  const output = ['--reporter', 'json', '--reporter-option', `output=${report}`];
  try {
    spawnSync(process.execPath, [mocha, ...options, ...output, 'test/'], {
      cwd: folder,
      env,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const { tests } = JSON.parse(fs.readFileSync(report, 'utf8'));
    return tests.map(({ fullTitle, err }) => ({ title: fullTitle, error: err.message }));
  } finally {
    fs.rmSync(report, { force: true });
  }
}

function runNodeTests(folder, preload, env) {
  const files = fs
    .readdirSync(path.join(folder, 'test'))
    // The tests of MemoryStore itself are left out.
    .filter((name) => name.endsWith('.test.js') && name !== 'memorystore.test.js')
    .map((name) => path.join('test', name));
  const options = ['--test', '--test-force-exit', '--test-concurrency=1', '--test-reporter=tap'];
  const { stdout } = spawnSync(process.execPath, [...options, ...files], {
    cwd: folder,
    // Each file runs in its own process, which has to preload as well.
    env: { ...env, NODE_OPTIONS: preload.map((part) => JSON.stringify(part)).join(' ') },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return [...stdout.matchAll(/^(not )?ok \d+ - (.*)\n {2}---\n([\s\S]*?)^ {2}\.\.\.$/gm)].map(
    ([, failed, title, details]) => ({ title, error: failed && details }),
  );
}

main(process.argv[2]).catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
