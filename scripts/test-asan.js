'use strict';

// npm run test:asan: builds the addon with AddressSanitizer and runs the tests of the boundary between JavaScript and
// Rust against it. Arguments replace these tests. Needs the nightly toolchain of Rust and gcc's libasan, on Linux.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { report, runJest } = require('./jest.js');
const { setUp } = require('./setup.js');

const ROOT = path.join(__dirname, '..');
const TARGET = `${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-unknown-linux-gnu`;
const TESTS = ['__test__/contract', '__test__/process'];

/** Runs a program and returns its output, or `undefined` if it fails. */
function output(program, ...args) {
  const { status, stdout } = spawnSync(program, args, { encoding: 'utf8' });
  return status === 0 ? stdout.trim() : undefined;
}

/** Returns the path of the sanitizer's runtime, which Node has to load first. */
function runtime() {
  if (process.platform !== 'linux') throw new Error('The AddressSanitizer tests need Linux.');
  if (output('cargo', '+nightly', '--version') === undefined)
    throw new Error(
      'The AddressSanitizer tests need the nightly toolchain of Rust: rustup toolchain install nightly',
    );
  const library = output('gcc', '-print-file-name=libasan.so');
  // gcc prints the name alone if it has no such file.
  if (library === undefined || !path.isAbsolute(library))
    throw new Error("The AddressSanitizer tests need gcc's libasan (apt-get: libgcc-12-dev).");
  return fs.realpathSync(library);
}

/** Builds the addon with AddressSanitizer, and returns its path. */
function build() {
  const folder = path.join(ROOT, 'target', 'asan');
  // With `--target`, build scripts and macros are built without the sanitizer.
  const args = ['+nightly', 'build', '--target', TARGET, '--target-dir', folder];
  const env = { ...process.env, RUSTFLAGS: '-Zsanitizer=address' };
  const { status } = spawnSync('cargo', args, { cwd: ROOT, env, stdio: 'inherit' });
  if (status !== 0) throw new Error('The addon could not be built with AddressSanitizer.');
  return path.join(folder, TARGET, 'debug', 'libconnect_redis_native.so');
}

/** Runs `task` with another addon in place of the built one. */
function withAddon(file, task) {
  const lib = path.join(ROOT, 'lib');
  const addon = path.join(
    lib,
    fs.readdirSync(lib).find((name) => name.endsWith('.node')),
  );
  const original = `${addon}.original`;
  // A run that was killed has left the original.
  if (!fs.existsSync(original)) fs.renameSync(addon, original);
  try {
    fs.copyFileSync(file, addon);
    return task();
  } finally {
    fs.renameSync(original, addon);
  }
}

async function main() {
  const library = runtime();
  await setUp();
  const logs = path.join(ROOT, 'target', 'asan', 'reports');
  fs.rmSync(logs, { recursive: true, force: true });
  fs.mkdirSync(logs, { recursive: true });
  const tests = process.argv.length > 2 ? process.argv.slice(2) : TESTS;
  // Node frees little when it exits. Freed memory is kept for a while, but less than a large session has.
  const options = ['detect_leaks=0', 'quarantine_size_mb=16', `log_path=${path.join(logs, 'asan')}`];
  const env = { LD_PRELOAD: library, ASAN_OPTIONS: options.join(':') };
  const counts = withAddon(build(), () => runJest(tests, { env }));
  // A process that a test started may have failed where the test expects a failure.
  const reports = fs.readdirSync(logs);
  for (const file of reports) console.error(fs.readFileSync(path.join(logs, file), 'utf8'));
  report([counts, { passed: 0, failed: reports.length, skipped: 0 }]);
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
