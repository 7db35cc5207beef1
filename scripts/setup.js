'use strict';

// Makes a fresh clone usable: npm packages, the addon, a Redis server. Does nothing if there is nothing to do. Uses
// nothing from npm, since it installs that.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { findProgram } = require('./programs.js');
const { findServer, installServer } = require('./redis.js');
const { installServers } = require('./servers.js');

const ROOT = path.join(__dirname, '..');
const OLDEST_NODE = 20;

/** Returns when a file was last changed, or the newest file below a folder; 0 if there is none. */
function changed(name) {
  const file = path.join(ROOT, name);
  const stat = fs.statSync(file, { throwIfNoEntry: false });
  if (stat === undefined) return 0;
  if (!stat.isDirectory()) return stat.mtimeMs;
  return Math.max(0, ...fs.readdirSync(file).map((entry) => changed(path.join(name, entry))));
}

function run(program, args) {
  console.log(`$ ${program} ${args.join(' ')}`);
  const { status, error } = spawnSync(program, args, {
    cwd: ROOT,
    stdio: ['ignore', 'inherit', 'inherit'],
    shell: process.platform === 'win32',
  });
  if (status !== 0)
    throw new Error(`\`${program} ${args.join(' ')}\` failed${error ? `: ${error.message}` : ''}.`);
}

function installPackages() {
  // npm writes this copy of the lock file when it has installed its packages.
  if (changed('node_modules/.package-lock.json') < changed('package-lock.json'))
    // The versions are those of the lock file, which stays unchanged. Not `npm ci`, which would begin by removing what
    // is installed already.
    run('npm', ['install', '--no-save', '--include=dev']);
}

/** The files that `npm run build` makes: the addon of this platform, and the module that loads it. */
function built() {
  const lib = path.join(ROOT, 'lib');
  return fs.readdirSync(lib).filter((file) => file.endsWith('.node') || file === 'binding.js');
}

function buildAddon() {
  const results = built().map((file) => changed(path.join('lib', file)));
  const sources = ['src', 'core', 'build.rs', 'Cargo.toml', 'Cargo.lock'].map(changed);
  if (results.length >= 2 && Math.min(...results) >= Math.max(...sources)) return;

  if (findProgram('cargo') === null)
    throw new Error(
      'The addon is built with Rust, and there is no `cargo` on PATH. Install it from https://rustup.rs.',
    );
  if (process.platform !== 'win32' && findProgram('cc') === null)
    throw new Error(
      'Rust links the addon with a C compiler, and there is no `cc` on PATH. Install gcc or clang ' +
        '(apt-get: build-essential, dnf: gcc, apk: build-base, pacman: base-devel, macOS: xcode-select --install).',
    );
  run('npm', ['run', 'build']);
  // The build does not touch files that are up to date; their time must still show it.
  const now = new Date();
  for (const file of built()) fs.utimesSync(path.join(ROOT, 'lib', file), now, now);
}

/**
 * @param {object} [needs]
 * @param {boolean} [needs.redis] false where a server is provided by other means
 * @param {boolean} [needs.everyServer] true for the tests, which run on other versions and on Valkey as well
 */
async function setUp({ redis = true, everyServer = false } = {}) {
  const [major] = process.versions.node.split('.').map(Number);
  if (major < OLDEST_NODE)
    throw new Error(`Node ${OLDEST_NODE} or later is needed; this is ${process.versions.node}.`);
  installPackages();
  buildAddon();
  if (redis && findServer() === null) installServer();
  if (everyServer) installServers();
}

module.exports = { setUp };

if (require.main === module) {
  setUp().catch((error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
}
