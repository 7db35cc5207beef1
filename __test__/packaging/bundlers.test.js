'use strict';

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { buildSync } = require('esbuild');

const ROOT = path.join(__dirname, '..', '..');

let app;
beforeAll(() => {
  app = fs.mkdtempSync(path.join(os.tmpdir(), 'bundlers-'));
  fs.mkdirSync(path.join(app, 'node_modules'));
  for (const [name, target] of [
    ['connect-redis-native', ROOT],
    ['express-session', path.join(ROOT, 'node_modules', 'express-session')],
  ])
    fs.symlinkSync(target, path.join(app, 'node_modules', name), 'junction');
  fs.writeFileSync(
    path.join(app, 'app.js'),
    `try {
      const { RedisStore } = require('connect-redis-native');
      const session = require('express-session');
      console.log(new RedisStore() instanceof session.Store);
    } catch ({ code, message }) {
      console.log(code, message);
    }`,
  );
});
afterAll(() => fs.rmSync(app, { recursive: true, force: true }));

/** Bundles the app with these options of esbuild, runs the bundle, and returns what it printed. */
function bundleAndRun(options) {
  const common = {
    absWorkingDir: app,
    entryPoints: ['app.js'],
    bundle: true,
    platform: 'node',
    outdir: 'out',
  };
  buildSync({ ...common, logLevel: 'silent', ...options });
  return spawnSync(process.execPath, ['out/app.js'], { cwd: app, encoding: 'utf8' }).stdout;
}

test('the esbuild options of docs/recipes.md bundle a working app', () => {
  const recipes = fs.readFileSync(path.join(ROOT, 'docs', 'recipes.md'), 'utf8');
  const [, options] = /esbuild app\.js --bundle --platform=node (--external.*)/.exec(recipes);
  const external = options.split(' ').map((option) => option.replace('--external:', ''));

  expect(external).toContain('connect-redis-native');
  expect(bundleAndRun({ external })).toBe('true\n');
});

test('esbuild with the loader "copy" bundles a working app', () => {
  expect(bundleAndRun({ loader: { '.node': 'copy' }, external: ['express-session'] })).toBe('true\n');
});

test('esbuild with the loader "file" makes the app fail with ERR_DLOPEN_FAILED and advice', () => {
  const printed = bundleAndRun({ loader: { '.node': 'file' } });
  expect(printed).toMatch(/^ERR_DLOPEN_FAILED connect-redis-native cannot load its binary/);
  expect(printed).toContain('--external:connect-redis-native');
});
