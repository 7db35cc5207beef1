'use strict';

// Builds the addon from the source in this package. Uses nothing from npm, and leaves nothing but the binary.

const { spawn, spawnSync } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { load } = require('../lib/boundary/binary.js');
const { builtFile, usesMusl } = require('../lib/boundary/platforms.js');

const ROOT = path.join(__dirname, '..');
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/**
 * Builds the addon, puts it where the package loads it, and loads it.
 *
 * @returns the path of the binary
 */
async function build() {
  checkTools();
  const target = fs.mkdtempSync(path.join(os.tmpdir(), 'connect-redis-native-'));
  try {
    install(await cargoBuild(target));
  } finally {
    fs.rmSync(target, { recursive: true, force: true });
  }
  load();
  return builtFile();
}

/** Throws an error that says what to install if Rust or a C compiler is missing. */
function checkTools() {
  const version = versionOf('cargo');
  if (version === null)
    throw new Error('Rust is missing: there is no `cargo` on PATH. Install it from https://rustup.rs.');
  const [, oldest] = /^rust-version = "(.*)"$/m.exec(fs.readFileSync(path.join(ROOT, 'Cargo.toml'), 'utf8'));
  const [, major, minor] = /(\d+)\.(\d+)/.exec(version) ?? [];
  const [oldestMajor, oldestMinor] = oldest.split('.').map(Number);
  if (Number(major) === oldestMajor && Number(minor) < oldestMinor)
    throw new Error(`Rust ${oldest} or later is needed; this is ${major}.${minor}. Run \`rustup update\`.`);
  if (process.platform !== 'win32' && versionOf('cc') === null)
    throw new Error(
      'A C compiler is missing: there is no `cc` on PATH. Install gcc or clang ' +
        '(apt-get: build-essential, dnf: gcc, apk: build-base, pacman: base-devel, macOS: xcode-select --install).',
    );
}

/** Returns the program's output for `--version`, or null if it does not run. */
function versionOf(program) {
  const { status, stdout } = spawnSync(program, ['--version'], { encoding: 'utf8' });
  return status === 0 ? stdout : null;
}

/** @returns the path of the library */
async function cargoBuild(target) {
  const options = ['--release', '--locked', '--lib', '--target-dir', target];
  // The path of the library depends on the user's settings for cargo, so cargo reports it.
  const args = ['build', ...options, '--message-format=json-render-diagnostics'];
  const cargo = spawn('cargo', args, {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...rustFlags() },
  });
  // Without a handler, a signal would end this process and leave its temporary folder.
  const stop = (signal) => cargo.kill(signal);
  for (const signal of SIGNALS) process.on(signal, stop);
  try {
    let output = '';
    cargo.stdout.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
    const [status, signal] = await once(cargo, 'close');
    if (status !== 0)
      throw new Error(`The build failed: cargo ended with ${signal ?? `exit code ${status}`}.`);
    const library = output
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line))
      .filter(({ reason, target }) => reason === 'compiler-artifact' && target.kind.includes('cdylib'))
      .flatMap(({ filenames }) => filenames)
      .find((file) => /\.(so|dylib|dll)$/.test(file));
    if (library === undefined) throw new Error('The build failed: cargo reported no library.');
    return library;
  } finally {
    for (const signal of SIGNALS) process.off(signal, stop);
  }
}

/** Returns the flags without which Rust makes no shared library for musl. */
function rustFlags() {
  if (!usesMusl()) return {};
  return { RUSTFLAGS: `${process.env.RUSTFLAGS ?? ''} -C target-feature=-crt-static`.trim() };
}

/** Replaces the binary, which a running process may have loaded, in one step. */
function install(library) {
  const incomplete = `${builtFile()}.${process.pid}`;
  try {
    fs.copyFileSync(library, incomplete);
    fs.renameSync(incomplete, builtFile());
  } finally {
    fs.rmSync(incomplete, { force: true });
  }
}

module.exports = { build, checkTools };
