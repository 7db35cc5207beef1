'use strict';

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const root = path.join(__dirname, '..', '..');
const sources = fs.readdirSync(__dirname).filter((name) => name.endsWith('.ts'));

// An app that has this package installed, so that its name is resolved as in apps.
let app;
beforeAll(() => {
  app = fs.mkdtempSync(path.join(os.tmpdir(), 'types-'));
  const installed = path.join(app, 'node_modules');
  fs.mkdirSync(installed);
  fs.symlinkSync(root, path.join(installed, 'connect-redis-native'), 'junction');
  for (const name of [
    '@fastify',
    '@opentelemetry',
    '@types',
    '@valkey',
    'connect-redis10',
    'fastify',
    'ioredis',
    'ioredis-mock',
    'ioredis5',
    'iovalkey',
    'prom-client',
    'redis',
    'redis4',
    'redis5',
  ]) {
    fs.symlinkSync(path.join(root, 'node_modules', name), path.join(installed, name), 'junction');
  }
});
afterAll(() => fs.rmSync(app, { recursive: true, force: true }));

const common = {
  strict: true,
  noEmit: true,
  noImplicitOverride: true,
  exactOptionalPropertyTypes: true,
  skipLibCheck: true,
  esModuleInterop: true,
  target: 'esnext',
  lib: ['esnext'],
  types: ['node'],
};

/** Checks `files` (names and texts) with `options`, and returns the exit code and output of tsc. */
async function check(name, files, options) {
  const folder = path.join(app, name);
  fs.mkdirSync(folder);
  for (const [file, text] of Object.entries(files)) fs.writeFileSync(path.join(folder, file), text);
  const config = { compilerOptions: { ...common, ...options }, files: Object.keys(files) };
  fs.writeFileSync(path.join(folder, 'tsconfig.json'), JSON.stringify(config));

  const tsc = spawn(path.join(root, 'node_modules', '.bin', 'tsc'), ['--pretty', 'false', '-p', folder], {
    cwd: folder,
    shell: process.platform === 'win32',
  });
  let output = '';
  for (const stream of [tsc.stdout, tsc.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
  }
  const [code] = await once(tsc, 'close');
  return { code, output };
}

/** Returns the sources with another extension. */
function as(extension) {
  return Object.fromEntries(
    sources.map((name) => [
      name.replace(/\.ts$/, extension),
      fs.readFileSync(path.join(__dirname, name), 'utf8'),
    ]),
  );
}

const clean = { code: 0, output: '' };

test.each([
  ['an ES module of Node', '.mts', { module: 'nodenext' }],
  ['a CommonJS module of Node', '.cts', { module: 'nodenext' }],
  ['a CommonJS module', '.ts', { module: 'commonjs', moduleResolution: 'bundler' }],
  ['a module for a bundler', '.ts', { module: 'preserve', moduleResolution: 'bundler' }],
])(
  'the declarations accept every use in %s',
  async (name, extension, options) => {
    expect(await check(name, as(extension), options)).toEqual(clean);
  },
  120_000,
);

test('the declarations themselves compile without skipLibCheck', async () => {
  const everything = ['', '/opentelemetry', '/prometheus']
    .map((subpath) => `export * from 'connect-redis-native${subpath}';\n`)
    .join('');
  const files = {
    'app.mts': everything,
    'app.cts': everything,
  };

  expect(await check('sound', files, { module: 'nodenext', skipLibCheck: false })).toEqual(clean);
});

test('the TypeScript example compiles with the declarations', async () => {
  const example = path.join(root, 'examples', 'typescript', 'app.mts');
  const files = { 'app.mts': fs.readFileSync(example, 'utf8') };

  expect(await check('example', files, { module: 'nodenext' })).toEqual(clean);
});

test('the store is accepted as a store of @fastify/session', async () => {
  const text = `
    import fastifyCookie from '@fastify/cookie';
    import fastifySession from '@fastify/session';
    import { RedisStore } from 'connect-redis-native';
    import fastify from 'fastify';

    const app = fastify();
    app.register(fastifyCookie);
    app.register(fastifySession, { secret: 'a secret of 32 letters at least!', store: new RedisStore() });
  `;

  expect(await check('fastify', { 'app.mts': text }, { module: 'nodenext' })).toEqual(clean);
});

test('tsc reports every mistake, each at its line', async () => {
  const text = fs.readFileSync(path.join(__dirname, 'mistakes.ts'), 'utf8');
  const directive = /^ *\/\/ @ts-expect-error.*$/gm;
  const expected = [...text.matchAll(directive)].map(
    ({ index }) => text.slice(0, index).split('\n').length + 1,
  );

  const { code, output } = await check(
    'mistakes',
    { 'mistakes.cts': text.replace(directive, '//') },
    { module: 'nodenext' },
  );

  const found = [...output.matchAll(/^mistakes\.cts\((\d+),/gm)].map(([, line]) => Number(line));
  expect(code).not.toBe(0);
  expect([...new Set(found)]).toEqual(expected);
});
