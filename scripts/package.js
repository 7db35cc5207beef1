'use strict';

// npm run package: builds the addon, and makes the tarballs that a release publishes, in `dist`: the package, and that
// of each platform whose binary is in `lib`. With --prebuilt, nothing is built.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { builtFile } = require('../lib/boundary/platforms.js');
const manifest = require('../package.json');

const ROOT = path.join(__dirname, '..');
const SCOPE = '@connect-redis-native/binding-';
const LIBC = { gnu: 'glibc', musl: 'musl' };

/** Returns the names of the published platforms: those that the loader knows. */
function platforms() {
  const loader = fs.readFileSync(path.join(ROOT, 'lib', 'boundary', 'platforms.js'), 'utf8');
  return [...loader.matchAll(/require\('@connect-redis-native\/binding-([\w-]+)'\)/g)].map(
    ([, name]) => name,
  );
}

/** Returns the file names of binaries that are in `lib`, by platform. */
function builtBinaries() {
  const files = platforms().map((name) => [name, path.join(path.dirname(builtFile()), binaryName(name))]);
  return Object.fromEntries(files.filter(([, file]) => fs.existsSync(file)));
}

const binaryName = (platform) => `connect-redis-native.${platform}.node`;

/**
 * Makes the tarballs in the folder `out`.
 *
 * @param {Record<string, string>} binaries the file of each platform's binary
 * @returns the paths of the tarballs, that of the package last
 */
function makeTarballs(out, binaries = builtBinaries()) {
  const work = fs.mkdtempSync(path.join(os.tmpdir(), 'package-'));
  try {
    const folders = Object.entries(binaries).map(([name, file]) => stagePlatform(work, name, file));
    folders.push(stagePackage(work));
    fs.mkdirSync(out, { recursive: true });
    return folders.map((folder) => {
      const [{ filename }] = JSON.parse(
        npm('pack', folder, '--json', '--silent', '--ignore-scripts', '--pack-destination', out),
      );
      return path.join(out, filename);
    });
  } finally {
    fs.rmSync(work, { recursive: true, force: true });
  }
}

/** Copies the package's files. Its manifest gets the platforms' packages, and loses what only a clone needs. */
function stagePackage(work) {
  const folder = path.join(work, 'package');
  const [{ files }] = JSON.parse(npm('pack', ROOT, '--json', '--silent', '--ignore-scripts', '--dry-run'));
  for (const { path: file } of files) {
    fs.mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
    fs.copyFileSync(path.join(ROOT, file), path.join(folder, file));
  }
  const { devDependencies, overrides, scripts, ...published } = manifest;
  const optionalDependencies = Object.fromEntries(
    platforms().map((name) => [SCOPE + name, manifest.version]),
  );
  writeManifest(folder, { ...published, optionalDependencies });
  return folder;
}

function stagePlatform(work, name, file) {
  const folder = path.join(work, name);
  fs.mkdirSync(folder);
  const [system, cpu, abi] = name.split('-');
  const { version, license, repository, engines } = manifest;
  writeManifest(folder, {
    name: SCOPE + name,
    version,
    description: `The binary of connect-redis-native for ${name}`,
    license,
    repository,
    engines,
    main: binaryName(name),
    files: [binaryName(name)],
    os: [system],
    cpu: [cpu],
    ...(LIBC[abi] && { libc: [LIBC[abi]] }),
  });
  fs.copyFileSync(file, path.join(folder, binaryName(name)));
  fs.copyFileSync(path.join(ROOT, 'LICENSE'), path.join(folder, 'LICENSE'));
  fs.writeFileSync(
    path.join(folder, 'README.md'),
    `The binary of [connect-redis-native](https://github.com/connect-redis-native/connect-redis-native) for ${name}.\n`,
  );
  return folder;
}

function writeManifest(folder, fields) {
  fs.writeFileSync(path.join(folder, 'package.json'), `${JSON.stringify(fields, null, 2)}\n`);
}

/** Runs npm, and returns what it printed for programs. */
function npm(...args) {
  const { status, stdout, error } = spawnSync('npm', args, {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
    shell: process.platform === 'win32',
    maxBuffer: 2 ** 26,
  });
  if (status !== 0) throw error ?? new Error(`\`npm ${args.join(' ')}\` failed.`);
  return stdout;
}

function main() {
  const { values } = parseArgs({ options: { prebuilt: { type: 'boolean' } } });
  if (!values.prebuilt) npm('run', 'build:addon');
  const out = path.join(ROOT, 'dist');
  fs.rmSync(out, { recursive: true, force: true });
  for (const file of makeTarballs(out))
    console.log(`${path.relative(ROOT, file)}  ${(fs.statSync(file).size / 1e6).toFixed(2)} MB`);
}

module.exports = { binaryName, builtBinaries, makeTarballs, platforms };

if (require.main === module) {
  try {
    main();
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
