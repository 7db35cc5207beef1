'use strict';

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

/**
 * Runs jest and counts its tests.
 *
 * @param {string[]} args
 * @param {object} [options]
 * @param {NodeJS.ProcessEnv} [options.env] variables to add
 * @param {string} [options.node] the Node binary to run the tests under
 * @returns `{ passed, failed, skipped }`
 */
function runJest(args, { env, node = process.execPath } = {}) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'jest-'));
  const report = path.join(folder, 'report.json');
  try {
    const { status } = spawnSync(
      node,
      [require.resolve('jest/bin/jest'), '--json', '--outputFile', report, ...args],
      {
        cwd: path.join(__dirname, '..'),
        // With `--json`, the output for people goes to stderr, and stdout gets only the report.
        stdio: ['ignore', 'ignore', 'inherit'],
        env: { ...process.env, ...env },
      },
    );
    const result = fs.existsSync(report) ? JSON.parse(fs.readFileSync(report, 'utf8')) : {};
    const total = {
      passed: result.numPassedTests ?? 0,
      // A file that cannot be loaded has no tests to fail.
      failed: (result.numFailedTests ?? 0) + (result.numRuntimeErrorTestSuites ?? 0),
      skipped: (result.numPendingTests ?? 0) + (result.numTodoTests ?? 0),
    };
    if (status !== 0 && total.failed === 0) total.failed = 1;
    return total;
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

/** Prints the sum of such counts as the last line, and makes it the exit code. */
function report(counts) {
  const sum = (key) => counts.reduce((total, count) => total + count[key], 0);
  const skipped = sum('skipped') > 0 ? `, ${sum('skipped')} skipped` : '';
  console.log(`${sum('passed')} passed, ${sum('failed')} failed${skipped}`);
  process.exitCode = sum('failed') > 0 ? 1 : 0;
}

module.exports = { runJest, report };
