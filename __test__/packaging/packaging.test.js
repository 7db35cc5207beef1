'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { useRedis } = require('../support/redis.js');
const { npmBinary } = require('../../scripts/npm-binary.js');
const { platforms } = require('../../scripts/package.js');
const { Installations, PLATFORM, ROOT } = require('./installations.js');

/** Several package managers install, on a machine that may be busy. */
const INSTALL_LIMIT_MS = 600_000;
const PACKAGES = ['connect-redis-native', 'express-session'];
const BUILD = 'npx connect-redis-native build';
const redis = useRedis();
const installations = new Installations();

let tarball;
/** An app into which npm has installed the package. */
let app;

beforeAll(async () => {
  await installations.start();
  tarball = installations.tarballs.at(-1);
  app = await installations.npmInstall('app', PACKAGES);
}, INSTALL_LIMIT_MS);
afterAll(() => installations.stop());

const node = (folder, ...args) => installations.run(folder, [process.execPath, ...args]);
const serve = (folder) => node(folder, 'app.js', redis.server.url);
const served = { status: 0, stdout: 'views: 2\n', stderr: '' };

test('the package contains what is needed to use and to build it, and nothing else', async () => {
  const { stdout } = await installations.run(ROOT, ['tar', '-tzf', tarball]);
  const files = stdout
    .trim()
    .split('\n')
    .map((file) => file.replace('package/', ''));
  const folders = ['bin', 'lib', 'opentelemetry', 'prometheus', 'src', 'core', 'docs'];
  const beside = files.filter((file) => !folders.includes(file.split('/')[0]));
  expect(beside.sort()).toEqual(
    [
      ...['CHANGELOG.md', 'Cargo.lock', 'Cargo.toml', 'LICENSE', 'README.md', 'build.rs', 'package.json'],
      ...['index.d.mts', 'index.d.ts', 'index.js', 'index.mjs'],
    ].sort(),
  );
  expect(files).toContain('bin/connect-redis-native.js');
  expect(files).toContain('lib/boundary/platforms.js');
  expect(files).toContain('src/lib.rs');
  expect(files).toContain('core/Cargo.toml');
  expect(files).toContain('core/src/lib.rs');
  // The types refer to them.
  expect(files).toContain('docs/sessions.md');
  // No binary, which is in the platform's package; only what is run, typed or built from.
  for (const file of files.filter((name) => folders.includes(name.split('/')[0])))
    expect(file).toMatch(
      /^(bin|lib|opentelemetry|prometheus)\/([\w-]+\/)*[\w-]+\.js$|^(opentelemetry|prometheus)\/index\.(mjs|d\.m?ts)$|^src\/([\w-]+\/)*[\w-]+\.rs$|^core\/(src|benches)\/([\w-]+\/)*[\w-]+\.rs$|^core\/Cargo\.toml$|^docs\/[\w-]+\.md$/,
    );
});

test('a release has a package for each platform that the release workflow builds', () => {
  const workflow = fs.readFileSync(path.join(ROOT, '.github', 'workflows', 'release.yml'), 'utf8');
  const targets = [...workflow.matchAll(/target: ([\w-]+),/g)].map(([, target]) => target);
  const [systems, cpus] = [
    { linux: 'linux', apple: 'darwin', pc: 'win32', unknown: undefined },
    { x86_64: 'x64', aarch64: 'arm64' },
  ];
  const names = targets.map((target) => {
    const [cpu, vendor, system, abi] = target.split('-');
    return [systems[vendor] ?? system, cpus[cpu], abi].filter(Boolean).join('-');
  });
  expect(platforms().sort()).toEqual(names.sort());
  expect(installations.tarballs).toHaveLength(names.length + 1);
});

describe('package managers install the tarballs of a release, and the app serves a session', () => {
  const yarn = (...args) => [
    process.execPath,
    npmBinary('@yarnpkg/cli-dist', '4.18.1', path.join('bin', 'yarn.js')),
    ...args,
  ];
  const pnpm = (...args) => [
    process.execPath,
    npmBinary('pnpm', '10.34.9', path.join('bin', 'pnpm.cjs')),
    ...args,
  ];
  const start = [process.execPath, 'app.js'];

  test('npm', async () => {
    expect(fs.readdirSync(path.join(app, 'node_modules', '@connect-redis-native'))).toEqual([
      `binding-${PLATFORM}`,
    ]);
    expect(await serve(app)).toEqual(served);
  });

  test('npm, by the paths of the tarballs of the package and of this platform', async () => {
    const platform = installations.tarballs.find((file) => file.includes(PLATFORM));
    const registry = await installations.startRegistryWithoutPackage();
    const packages = [tarball, platform, 'express-session'];
    expect(await serve(await installations.npmInstall('from-tarballs', packages, { registry }))).toEqual(
      served,
    );
  });

  test.each([
    ['pnpm', pnpm, {}, start],
    ['yarn with Plug’n’Play', yarn, { YARN_NODE_LINKER: 'pnp' }, ['node', 'app.js']],
    ['yarn with node_modules', yarn, { YARN_NODE_LINKER: 'node-modules' }, start],
  ])(
    '%s',
    async (name, manager, env, command) => {
      const folder = installations.makeApp(name.replaceAll(/\W+/g, '-'));
      // Without it, yarn regards a project in a folder above as the app's.
      if (manager === yarn) fs.writeFileSync(path.join(folder, 'yarn.lock'), '');
      const added = await installations.run(folder, manager('add', ...PACKAGES), { env });
      expect(`${added.stdout}${added.status}`).toMatch(/0$/);

      const run = command === start ? start : manager(...command);
      expect(await installations.run(folder, [...run, redis.server.url], { env })).toEqual(served);
    },
    INSTALL_LIMIT_MS,
  );
});

test('an installed package can be imported', async () => {
  const { stdout, stderr } = await node(
    app,
    ...['--input-type=module', '-e'],
    `import byDefault, { RedisStore } from 'connect-redis-native'; console.log(RedisStore === byDefault);`,
  );
  expect({ stdout, stderr }).toEqual({ stdout: 'true\n', stderr: '' });
});

test.each([
  ['opentelemetry', '@opentelemetry/api', 'instrument'],
  ['prometheus', 'prom-client', 'collect'],
])(
  'connect-redis-native/%s without its peer dependency throws an error that names it',
  async (subpath, peer, name) => {
    const thrown = `MODULE_NOT_FOUND connect-redis-native/${subpath} needs the package ${peer}: npm install ${peer}\n`;
    const use = (load) =>
      `try { (${load}('connect-redis-native/${subpath}')).${name}({}) } catch ({ code, message }) { console.log(code, message) }`;
    const required = await node(app, '-e', use('require'));
    const imported = await node(app, '--input-type=module', '-e', use('await import'));
    expect([required, imported].map(({ stdout, stderr }) => stdout + stderr)).toEqual([thrown, thrown]);
  },
);

test('the package installs without a client package', () => {
  for (const client of ['redis', 'ioredis'])
    expect(fs.existsSync(path.join(app, 'node_modules', client))).toBe(false);
});

test('an app can have clients that no store can use', async () => {
  const folders = Object.entries({ redis: '3.1.2', ioredis: '3.2.2' }).map(([name, version]) => {
    const folder = installations.path(`${name}-${version}`);
    fs.mkdirSync(folder);
    fs.writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ name, version }));
    return folder;
  });
  const former = await installations.pack(...folders);
  expect(await serve(await installations.npmInstall('older-app', [...former, ...PACKAGES]))).toEqual(served);
});

describe('when there is no binary', () => {
  const load =
    "try { require('connect-redis-native') } catch (error) { console.log(error.code, error.stack) }";

  test('the error is five lines at most, and names the platform, the command and the caller', async () => {
    const bareApp = await installations.npmInstall('bare-app', ['--omit=optional', ...PACKAGES]);
    fs.writeFileSync(path.join(bareApp, 'load.js'), load);
    const lines = (await node(bareApp, 'load.js')).stdout.trim().split('\n');

    expect(lines[0]).toBe(
      `ERR_DLOPEN_FAILED RedisStoreError: connect-redis-native has no binary for ${PLATFORM}.`,
    );
    expect(lines[1]).toContain(`@connect-redis-native/binding-${PLATFORM} is an optional dependency`);
    expect(lines[3].trim()).toBe(BUILD);
    expect(lines[4]).toMatch(/^ {4}at .*load\.js:1:7\)$/);
    expect(lines).toHaveLength(5);
  });

  test('the error of an installation from source does not speak of an optional dependency', async () => {
    const [plain] = await installations.pack(ROOT);
    const folder = await installations.npmInstall('plain-app', [plain, 'express-session']);
    const { stdout } = await node(folder, '-e', load);
    expect(stdout).toContain(BUILD);
    expect(stdout).not.toContain('optional');
  });
});

test('the error has the reason and ERR_DLOPEN_FAILED when the binary cannot be loaded', async () => {
  const load =
    "try { require('connect-redis-native') } catch (error) { console.log(error.code, error.message) }";
  const cannot = `ERR_DLOPEN_FAILED connect-redis-native cannot load its binary for ${PLATFORM}: `;

  const { stdout } = await node(app, '--no-addons', '-e', load);
  expect(stdout).toContain(cannot);
  expect(stdout).toContain('loading addons is disabled. It needs Node without --no-addons');

  const broken = await installations.npmInstall('broken-app', PACKAGES);
  const file = `connect-redis-native.${PLATFORM}.node`;
  fs.writeFileSync(
    path.join(broken, 'node_modules', '@connect-redis-native', `binding-${PLATFORM}`, file),
    'no binary',
  );
  const refused = (await node(broken, '-e', load)).stdout;
  expect(refused).toContain(cannot);
  expect(refused).toContain(file);
});
