'use strict';

const { execFileSync, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { useRedis } = require('../support/redis.js');

const ROOT = path.join(__dirname, '..', '..');
/** npm installs twice. */
const INSTALL_LIMIT_MS = 300_000;
const redis = useRedis();

let work;
let tarball;
let app;
/** The app without the platform's package. */
let bareApp;

const npm = (cwd, ...args) =>
  execFileSync('npm', [...args, '--loglevel=error'], {
    cwd,
    encoding: 'utf8',
    shell: process.platform === 'win32',
  });

/** Packs the package in `folder` and returns the path of the tarball and those of the files in it. */
function pack(folder) {
  const [{ filename, files }] = JSON.parse(
    npm(folder, 'pack', '--json', '--ignore-scripts', '--pack-destination', work),
  );
  return { file: path.join(work, filename), files: files.map((entry) => entry.path).sort() };
}

/**
 * Packs the platform's package, created by napi's own command, with the binary of this build. Returns the tarball's
 * path.
 */
function packPlatform() {
  // The command writes below the folder of the manifest, so it gets a copy of that.
  const source = path.join(work, 'source');
  fs.mkdirSync(source);
  for (const manifest of ['package.json', 'README.md', 'LICENSE'])
    fs.copyFileSync(path.join(ROOT, manifest), path.join(source, manifest));
  // Started by its path, which the package does not export.
  const napi = path.join(ROOT, 'node_modules', '@napi-rs', 'cli', 'dist', 'cli.js');
  execFileSync(process.execPath, [napi, 'create-npm-dirs'], { cwd: source, stdio: 'pipe' });
  const npmDir = path.join(source, 'npm');
  const binary = fs.readdirSync(path.join(ROOT, 'lib')).find((file) => file.endsWith('.node'));
  const platform = binary.split('.')[1];
  fs.copyFileSync(path.join(ROOT, 'lib', binary), path.join(npmDir, platform, binary));
  return pack(path.join(npmDir, platform)).file;
}

function makeApp(name, ...tarballs) {
  const folder = path.join(work, name);
  fs.mkdirSync(folder);
  fs.writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ name, private: true }));
  npm(folder, 'install', '--prefer-offline', '--no-audit', '--no-fund', 'express-session@1.19', ...tarballs);
  return folder;
}

const run = (folder, ...args) => spawnSync(process.execPath, args, { cwd: folder, encoding: 'utf8' });

beforeAll(() => {
  work = fs.mkdtempSync(path.join(os.tmpdir(), 'packaging-'));
  tarball = pack(ROOT);
  app = makeApp('app', tarball.file, packPlatform());
  bareApp = makeApp('bare-app', tarball.file);
}, INSTALL_LIMIT_MS);
afterAll(() => fs.rmSync(work, { recursive: true, force: true }));

test('the package contains what is needed to use and to build it, and nothing else', () => {
  const folders = ['lib', 'src', 'core', 'docs'];
  const beside = tarball.files.filter((file) => !folders.includes(file.split('/')[0]));
  expect(beside).toEqual(
    [
      ...['CHANGELOG.md', 'Cargo.lock', 'Cargo.toml', 'LICENSE', 'README.md', 'build.rs', 'package.json'],
      ...['index.d.mts', 'index.d.ts', 'index.js', 'index.mjs'],
    ].sort(),
  );
  expect(tarball.files).toContain('lib/binding.js');
  expect(tarball.files).toContain('src/lib.rs');
  expect(tarball.files).toContain('core/Cargo.toml');
  expect(tarball.files).toContain('core/src/lib.rs');
  // The types refer to them.
  expect(tarball.files).toContain('docs/sessions.md');
  // No binary, which is in the platform's package; only what is run, typed or built from.
  for (const file of tarball.files.filter((name) => folders.includes(name.split('/')[0])))
    expect(file).toMatch(
      /^lib\/([\w-]+\/)*[\w-]+\.(js|d\.ts)$|^(core\/)?src\/([\w-]+\/)*[\w-]+\.rs$|^core\/Cargo\.toml$|^docs\/\w+\.md$/,
    );
});

const use = `
  (async () => {
    const store = new RedisStore({ url: process.argv[1] });
    await store.set('abc', { n: 1 });
    console.log((await store.get('abc')).n, RedisStore === byDefault);
    await store.close();
  })();`;

test('an installed package can be required', () => {
  const { stdout, stderr } = run(
    app,
    ...[
      '-e',
      `const { RedisStore, default: byDefault } = require('connect-redis-native'); ${use}`,
      redis.server.url,
    ],
  );
  expect({ stdout, stderr }).toEqual({ stdout: '1 true\n', stderr: '' });
});

test('an installed package can be imported', () => {
  const { stdout, stderr } = run(
    app,
    ...['--input-type=module', '-e'],
    ...[`import byDefault, { RedisStore } from 'connect-redis-native'; ${use}`, redis.server.url],
  );
  expect({ stdout, stderr }).toEqual({ stdout: '1 true\n', stderr: '' });
});

test('the package installs without a client package', () => {
  for (const client of ['redis', 'ioredis'])
    expect(fs.existsSync(path.join(app, 'node_modules', client))).toBe(false);
});

test('an app can have clients that no store can use', () => {
  const former = Object.entries({ redis: '3.1.2', ioredis: '3.2.2' }).map(([name, version]) => {
    const folder = path.join(work, `${name}-${version}`);
    fs.mkdirSync(folder);
    fs.writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ name, version }));
    return pack(folder).file;
  });
  const older = makeApp('older-app', ...former, tarball.file);
  expect(fs.existsSync(path.join(older, 'node_modules', 'connect-redis-native'))).toBe(true);
});

test('the error names the platform and how to build a binary when there is none', () => {
  const { status, stderr } = run(bareApp, '-e', "require('connect-redis-native')");
  expect(status).toBe(1);
  expect(stderr).toContain(`connect-redis-native has no binary for ${process.platform}-${process.arch}`);
  const [, command] = /To build it, with a Rust toolchain \(.*?\): (cd .*)$/m.exec(stderr);
  // All but the build: npx finds the program, and the program knows the options.
  const { stdout } = spawnSync(`${command} --help`, { cwd: bareApp, encoding: 'utf8', shell: true });
  expect(stdout).toMatch(/napi build.*--output-dir/s);
});

test('the error has the reason and ERR_DLOPEN_FAILED when the binary cannot be loaded', () => {
  const load =
    "try { require('connect-redis-native') } catch (error) { console.log(error.code, error.message) }";
  const cannot = `ERR_DLOPEN_FAILED connect-redis-native cannot load its binary for ${process.platform}-${process.arch}: `;

  const { stdout } = run(app, '--no-addons', '-e', load);
  expect(stdout).toContain(cannot);
  expect(stdout).toContain('loading addons is disabled. It needs Node without --no-addons');

  const broken = path.join(bareApp, 'node_modules', 'connect-redis-native', 'lib');
  const [binary] = fs.readdirSync(path.join(ROOT, 'lib')).filter((file) => file.endsWith('.node'));
  fs.writeFileSync(path.join(broken, binary), 'no binary');
  const refused = run(bareApp, '-e', load).stdout;
  expect(refused).toContain(cannot);
  expect(refused).toContain(binary);
});
