'use strict';

// Runs express-session's own tests with this package's store in the place of MemoryStore. Its npm package leaves them
// out, so they come from a checkout of its repository:
//
//   git clone --depth 1 --branch v1.19.0 https://github.com/expressjs/session && (cd session && npm install)
//   node scripts/suites.js session

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { startRedis } = require('./redis.js');

const PRELOADED = path.join(__dirname, '..', '__test__', 'suites', 'memory-store.js');

/** The ends of the titles of tests that fail. One that passes has to leave this list. */
const KNOWN_FAILURES = ['.touch() should reset session expiration', 'should forward errors setting cookie'];

async function main(checkout) {
  if (checkout === undefined || !fs.existsSync(path.join(checkout, 'test', 'session.js')))
    throw new Error('Usage: node scripts/suites.js <checkout of express-session with its tests>');
  const mocha = require.resolve('mocha/bin/mocha.js', { paths: [path.resolve(checkout)] });
  const report = path.join(checkout, 'report.json');
  const server = await startRedis();
  try {
    const options = ['--require', './test/support/env', '--require', PRELOADED, '--exit'];
    const output = ['--reporter', 'json', '--reporter-option', `output=${path.resolve(report)}`];
    spawnSync(process.execPath, [mocha, ...options, ...output, 'test/'], {
      cwd: checkout,
      env: { ...process.env, EXPRESS_SESSION: '.', REDIS_URL: server.url },
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const { passes, failures } = JSON.parse(fs.readFileSync(report, 'utf8'));
    const known = ({ fullTitle }) => KNOWN_FAILURES.some((end) => fullTitle.endsWith(end));
    for (const { fullTitle, err } of failures.filter((test) => !known(test)))
      console.log(`failed: ${fullTitle}\n  ${err.message}`);
    for (const { fullTitle } of passes.filter(known)) console.log(`passes, and is on the list: ${fullTitle}`);
    const failed = failures.filter((test) => !known(test)).length + passes.filter(known).length;
    console.log(`${passes.length} passed, ${failed} failed, ${failures.filter(known).length} skipped`);
    if (failed > 0 || passes.length === 0) process.exitCode = 1;
  } finally {
    fs.rmSync(report, { force: true });
    await server.stop();
  }
}

main(process.argv[2]).catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
