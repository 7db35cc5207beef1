'use strict';

// npm test: set-up, Rust unit tests, jest. Arguments go to jest.

const { spawnSync } = require('node:child_process');
const path = require('node:path');
const { report, runJest } = require('./jest.js');
const { setUp } = require('./setup.js');

/** Runs the Rust tests and counts them. */
function cargoTest() {
  const { status, stdout, error } = spawnSync('cargo', ['test', '--workspace'], {
    cwd: path.join(__dirname, '..'),
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
    maxBuffer: Number.POSITIVE_INFINITY,
  });
  if (error) throw error;
  process.stdout.write(stdout);
  const total = { passed: 0, failed: 0, skipped: 0 };
  const results = /^test result: .*? (\d+) passed; (\d+) failed; (\d+) ignored/gm;
  for (const [, passed, failed, ignored] of stdout.matchAll(results)) {
    total.passed += Number(passed);
    total.failed += Number(failed);
    total.skipped += Number(ignored);
  }
  // Code that does not compile has no test to fail.
  if (status !== 0 && total.failed === 0) total.failed = 1;
  return total;
}

setUp({ everyServer: true })
  .then(() => report([cargoTest(), runJest(process.argv.slice(2))]))
  .catch((error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
