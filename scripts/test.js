'use strict';

// npm test: set-up, Rust unit tests, jest. Arguments go to jest.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { setUp } = require('./setup.js');

const ROOT = path.join(__dirname, '..');

/** Runs the Rust tests and counts them. */
function cargoTest() {
  const { status, stdout } = spawnSync('cargo', ['test'], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
  });
  process.stdout.write(stdout);
  const total = { passed: 0, failed: 0, skipped: 0 };
  for (const [, passed, failed, ignored] of stdout.matchAll(
    /^test result: .*? (\d+) passed; (\d+) failed; (\d+) ignored/gm,
  )) {
    total.passed += Number(passed);
    total.failed += Number(failed);
    total.skipped += Number(ignored);
  }
  // What does not compile runs no test; that counts, too.
  if (status !== 0 && total.failed === 0) total.failed = 1;
  return total;
}

/** Runs jest and counts its tests. */
function jest(args) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'jest-'));
  const report = path.join(folder, 'report.json');
  try {
    const { status } = spawnSync(
      process.execPath,
      [require.resolve('jest/bin/jest.js'), '--json', '--outputFile', report, ...args],
      // The report goes to the file; jest prints it to stdout as well.
      { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] },
    );
    const result = fs.existsSync(report) ? JSON.parse(fs.readFileSync(report, 'utf8')) : undefined;
    const total = {
      passed: result?.numPassedTests ?? 0,
      failed: (result?.numFailedTests ?? 0) + (result?.numRuntimeErrorTestSuites ?? 0),
      skipped: result?.numPendingTests ?? 0,
    };
    if (status !== 0 && total.failed === 0) total.failed = 1;
    return total;
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

async function main() {
  await setUp();
  const totals = [cargoTest(), jest(process.argv.slice(2))];
  const sum = (key) => totals.reduce((total, part) => total + part[key], 0);
  const skipped = sum('skipped') > 0 ? `, ${sum('skipped')} skipped` : '';
  console.log(`${sum('passed')} passed, ${sum('failed')} failed${skipped}`);
  process.exitCode = sum('failed') > 0 ? 1 : 0;
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
