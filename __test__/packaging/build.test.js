'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { findProgram } = require('../../scripts/programs.js');
const { useRedis } = require('../support/redis.js');
const { Installations, PLATFORM, ROOT } = require('./installations.js');

/** A build without optimisations takes a minute on an idle machine with 2 cores. */
const BUILD_LIMIT_MS = 1_200_000;
const FAST = { CARGO_PROFILE_RELEASE_OPT_LEVEL: '0', CARGO_PROFILE_RELEASE_LTO: 'off' };
const COMMAND = ['npx', '--no-install', 'connect-redis-native', 'build'];
const BINARY = `connect-redis-native.${PLATFORM}.node`;
const redis = useRedis();
const installations = new Installations();

/** Apps that installed the package from its source, which has no binary: from a tarball, a git URL and a folder. */
const apps = {};
let source;
let temporary;

beforeAll(async () => {
  await installations.start();
  const [plain] = await installations.pack(ROOT);
  source = installations.path('source');
  temporary = installations.path('tmp');
  for (const folder of [source, temporary]) fs.mkdirSync(folder);
  const run = async (...command) => {
    const { status, stderr } = await installations.run(source, command);
    if (status !== 0) throw new Error(stderr);
  };
  await run('tar', '-xzf', plain, '--strip-components', '1');
  await run('git', 'init', '--quiet');
  await run('git', 'add', '.');
  await run(
    'git',
    '-c',
    'user.name=Test',
    '-c',
    'user.email=test@localhost',
    'commit',
    '--quiet',
    '-m',
    'Test',
  );
  // npm prepares a git dependency that has a script such as `build`, for which it installs the packages of the
  // development first. The registry does not have them, so that would fail here.
  const urls = { tarball: plain, git: `git+file://${source}`, folder: source };
  for (const [name, url] of Object.entries(urls))
    apps[name] = await installations.npmInstall(`${name}-app`, [url, 'express-session']);
}, BUILD_LIMIT_MS);
afterAll(() => installations.stop());

const build = (app, env) =>
  installations.run(app, COMMAND, { env: { TMPDIR: temporary, TEMP: temporary, ...env } });
const libOf = (app) => path.join(app, 'node_modules', 'connect-redis-native', 'lib');
const filesOf = (folder) => fs.readdirSync(folder, { recursive: true }).sort();

test(
  '`npx connect-redis-native build` leaves the binary alone, and apps serve sessions with it',
  async () => {
    const packageFolder = path.dirname(libOf(apps.git));
    const before = filesOf(packageFolder);
    const { status, stdout, stderr } = await build(apps.git, FAST);

    expect({ status, stderr: status === 0 ? '' : stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toBe(`Built ${path.join(libOf(apps.git), BINARY)}\n`);
    expect(filesOf(packageFolder)).toEqual([...before, path.join('lib', BINARY)].sort());
    expect(filesOf(temporary)).toEqual([]);

    for (const app of Object.values(apps)) {
      if (app !== apps.git)
        fs.copyFileSync(path.join(libOf(apps.git), BINARY), path.join(libOf(app), BINARY));
      const { stdout: printed, stderr: failure } = await installations.run(app, [
        process.execPath,
        ...['app.js', redis.server.url],
      ]);
      expect({ printed, failure }).toEqual({ printed: 'views: 2\n', failure: '' });
    }
  },
  BUILD_LIMIT_MS,
);

test.each(['tarball', 'folder'])('the command runs in an app that installed a %s', async (name) => {
  const { status, stdout } = await installations.run(apps[name], [...COMMAND, '--help']);
  expect(status).toBe(0);
  expect(stdout).toMatch(/^Usage: connect-redis-native build/);
});

test('a build that fails ends with the reason, and leaves no files', async () => {
  const before = filesOf(libOf(apps.tarball));
  // Cargo finds no crates.
  const env = { CARGO_HOME: installations.path('cargo'), CARGO_NET_OFFLINE: 'true' };
  const { status, stderr } = await build(apps.tarball, env);

  expect(status).toBe(1);
  expect(stderr.trim().split('\n').at(-1)).toBe('The build failed: cargo ended with exit code 101.');
  expect(filesOf(temporary)).toEqual([]);
  expect(filesOf(libOf(apps.tarball))).toEqual(before);
});

test.each([
  ['Rust is missing: there is no `cargo` on PATH. Install it from https://rustup.rs.', []],
  ['A C compiler is missing: there is no `cc` on PATH. Install gcc or clang', ['cargo', 'rustc']],
])('the command reports a missing tool: %s', async (message, tools) => {
  const bin = fs.mkdtempSync(installations.path('bin-'));
  for (const tool of tools) fs.symlinkSync(findProgram(tool), path.join(bin, tool));
  const command = path.join(path.dirname(libOf(apps.tarball)), 'bin', 'connect-redis-native.js');
  const { status, stderr } = await installations.run(apps.tarball, [process.execPath, command, 'build'], {
    env: { PATH: bin },
  });
  expect(status).toBe(1);
  expect(stderr.trim().split('\n')).toHaveLength(1);
  expect(stderr).toContain(message);
});
