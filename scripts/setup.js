'use strict';

// Makes a fresh clone usable: npm packages, the addon, a Redis server. Does nothing if there is nothing to do. Uses
// nothing from npm, since it installs that.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { checkTools } = require('../bin/build.js');
const { builtFile } = require('../lib/boundary/platforms.js');
const servers = require('./servers.js');

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

function buildAddon() {
  // What `npm run build:addon` makes: the addon, and the types of its exports.
  const built = [builtFile(), path.join(ROOT, 'lib', 'binding.d.ts')].map((file) =>
    path.relative(ROOT, file),
  );
  const sources = ['src', 'core', 'build.rs', 'Cargo.toml', 'Cargo.lock'].map(changed);
  if (Math.min(...built.map(changed)) >= Math.max(...sources)) return;
  checkTools();
  console.log('Building the addon with cargo. The first build takes some minutes.');
  run('npm', ['run', 'build:addon']);
  // The build does not touch files that are up to date; their time must still show it.
  const now = new Date();
  for (const file of built) fs.utimesSync(path.join(ROOT, file), now, now);
}

/**
 * @param {object} [needs]
 * @param {boolean} [needs.redis] false where a server is provided by other means
 * @param {boolean} [needs.everyServer] true for the tests, which run on other versions and on Valkey as well, and need the
 * system's server for TLS
 */
async function setUp({ redis = true, everyServer = false } = {}) {
  const [major] = process.versions.node.split('.').map(Number);
  if (major < OLDEST_NODE)
    throw new Error(`Node ${OLDEST_NODE} or later is needed; this is ${process.versions.node}.`);
  installPackages();
  buildAddon();
  if (everyServer) {
    if (servers.findSystemServer() === null) servers.installSystemServer();
    servers.installServers();
  } else if (redis && servers.findServer() === null) servers.installServer();
}

module.exports = { setUp };

if (require.main === module) {
  setUp().catch((error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
}
