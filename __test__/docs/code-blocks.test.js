'use strict';

// Runs the code in README.md and docs. `js fragment` blocks use packages or parts of an app that are not here: only their
// syntax is checked.

const { spawn, spawnSync } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const express = require('express');
const session = require('express-session');
const { createClient } = require('redis');
const { RedisStore } = require('../..');
const { freePort } = require('../../scripts/redis.js');
const { useRedis } = require('../support/redis.js');
const { closeAll, keepStore } = require('../support/stores.js');
const { until } = require('../support/until.js');
const { ROOT, codeBlocks, pages } = require('./markdown.js');

const redis = useRedis();
afterEach(closeAll);

const blocks = pages.flatMap(codeBlocks);
/** Returns the blocks for which `test` returns true, as rows of `test.each`. */
const rows = (test) => blocks.filter(test).map((block) => [block.where, block]);
/** A program begins with its file's name. */
const isProgram = ({ code }) => /^\/\/ [\w.-]+\.m?js\n/.test(code);
const isJs = ({ language }) => language === 'js';

class KeptStore extends RedisStore {
  constructor(options) {
    super(options);
    keepStore(this);
    this.on('error', () => {});
  }
}

/** The names that a block may use. */
function context() {
  const { url } = redis.server;
  const app = express();
  const names = {
    ...{ app, console: { ...console, log() {}, info() {} }, exports: {}, module: {}, session, url },
    client: createClient({ url }),
    fetchToken: async () => 'token',
    process: { env: { REDIS_URL: url }, once() {} },
    RedisStore: KeptStore,
    server: { close() {} },
    store: new KeptStore({ url }),
    countDiscarded() {},
    ...{ username: 'app', password: 'secret', ofTheSentinels: 'secret', ca: undefined, signal: undefined },
  };
  names.require = (name) => (name === 'connect-redis-native' ? { RedisStore: KeptStore } : require(name));
  return names;
}

const AsyncFunction = (async () => {}).constructor;
const compile = (code, names) => new AsyncFunction(...names, `{${code}\n}`);

test.each(rows((block) => isJs(block) && !block.isFragment && !isProgram(block)))(
  'the JavaScript at %s runs',
  async (_where, { code }) => {
    const names = context();
    await compile(code, Object.keys(names))(...Object.values(names));
  },
);

test.each(rows((block) => isJs(block) && block.isFragment))(
  'the JavaScript at %s compiles',
  (_where, { code }) => {
    expect(() => compile(code, [])).not.toThrow();
  },
);

describe('programs', () => {
  let folder;
  let program;
  beforeAll(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'docs-'));
  });
  afterEach(async () => {
    const exited = once(program, 'exit');
    if (program.kill('SIGKILL')) await exited;
  });
  afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

  /** Runs a program that serves `Views: 1`, then `Views: 2`, and expects that. */
  async function expectViews(file) {
    const port = await freePort();
    program = spawn(process.execPath, [file], {
      env: {
        ...process.env,
        PORT: String(port),
        REDIS_URL: redis.server.url,
        SESSION_SECRET: 's'.repeat(32),
      },
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const get = (headers) => fetch(`http://127.0.0.1:${port}`, { headers }).catch(() => undefined);
    let first;
    await until(async () => {
      first = await get({});
      return first !== undefined || program.exitCode !== null;
    });
    const second = await get({ cookie: first.headers.get('set-cookie').split(';')[0] });

    expect([await first.text(), await second.text()]).toEqual(['Views: 1', 'Views: 2']);
    expect(await redis.keys()).toHaveLength(1);
  }

  test.each(rows((block) => isJs(block) && isProgram(block)))(
    'the program at %s counts views in a session',
    async (_where, { code }) => {
      const app = fs.mkdtempSync(path.join(folder, 'app-'));
      const installed = path.join(app, 'node_modules');
      fs.mkdirSync(path.join(installed, '@fastify'), { recursive: true });
      for (const name of ['express', 'express-session', 'fastify', '@fastify/cookie', '@fastify/session'])
        fs.symlinkSync(path.join(ROOT, 'node_modules', name), path.join(installed, name), 'junction');
      fs.symlinkSync(ROOT, path.join(installed, 'connect-redis-native'), 'junction');
      const file = path.join(app, 'app.js');
      fs.writeFileSync(file, code);

      await expectViews(file);
    },
  );

  test("README.md's program runs with the packed package in an empty folder", async () => {
    const app = path.join(folder, 'packed');
    fs.mkdirSync(app);
    const npm = (...args) => {
      const options = { cwd: app, encoding: 'utf8', shell: process.platform === 'win32' };
      const { status, stdout, stderr } = spawnSync('npm', [...args, '--loglevel=error'], options);
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      return stdout;
    };
    const [{ filename }] = JSON.parse(npm('pack', ROOT, '--json', '--ignore-scripts'));
    fs.writeFileSync(path.join(app, 'package.json'), '{ "private": true }');
    npm(
      'install',
      '--prefer-offline',
      '--no-audit',
      '--no-fund',
      `./${filename}`,
      'express@5',
      'express-session@1.19',
    );
    // As `npx connect-redis-native build` does.
    const lib = path.join(ROOT, 'lib');
    for (const file of fs.readdirSync(lib).filter((name) => name.endsWith('.node')))
      fs.copyFileSync(
        path.join(lib, file),
        path.join(app, 'node_modules', 'connect-redis-native', 'lib', file),
      );
    const { code } = codeBlocks('README.md').find((block) => isProgram(block));
    expect(code.trim().split('\n').length).toBeLessThanOrEqual(25);
    fs.writeFileSync(path.join(app, 'app.js'), code);

    await expectViews(path.join(app, 'app.js'));
  }, 300_000);
});

test('the TypeScript blocks compile', () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'docs-ts-'));
  try {
    const sources = blocks.filter(({ language, isFragment }) => language === 'ts' && !isFragment);
    expect(sources).not.toHaveLength(0);
    fs.mkdirSync(path.join(folder, 'node_modules'));
    fs.symlinkSync(ROOT, path.join(folder, 'node_modules', 'connect-redis-native'), 'junction');
    fs.symlinkSync(
      path.join(ROOT, 'node_modules', '@types'),
      path.join(folder, 'node_modules', '@types'),
      'junction',
    );
    // A folder for each, as declarations of one apply to all files of a program.
    for (const [index, { code }] of sources.entries()) {
      const file = path.join(folder, `block-${index}.mts`);
      fs.writeFileSync(file, code);
      const options = '--noEmit --strict --skipLibCheck --target esnext --module nodenext --types node'.split(
        ' ',
      );
      const tsc = path.join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
      const { status, stdout } = spawnSync(process.execPath, [tsc, ...options, file], {
        cwd: folder,
        encoding: 'utf8',
      });
      expect({ status, stdout }).toEqual({ status: 0, stdout: '' });
    }
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
});

test('the shell blocks use commands that exist', () => {
  const { name, scripts } = require('../../package.json');
  const commands = blocks
    .filter(({ language, isFragment }) => language === 'sh' && !isFragment)
    .flatMap(({ code }) => code.trim().split('\n'));
  expect(commands).not.toHaveLength(0);

  for (const command of commands) {
    const [program, ...args] = command.replace(/ +#.*/, '').split(' ');
    if (program === 'npm' && args[0] === 'run') expect(Object.keys(scripts)).toContain(args[1]);
    else if (program === 'npm') expect(['install', 'test']).toContain(args[0]);
    else if (program === 'npx') expect(args).toEqual([name, 'build']);
    else expect(fs.existsSync(path.join(ROOT, 'node_modules', '.bin', program))).toBe(true);
  }
});
