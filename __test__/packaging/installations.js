'use strict';

// Empty folders into which package managers install the packed tarballs, and the app that the tests run there.

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { builtBinaries, makeTarballs, platforms } = require('../../scripts/package.js');
const { startRegistry } = require('./registry.js');

const ROOT = path.join(__dirname, '..', '..');
const [[PLATFORM, BINARY] = []] = Object.entries(builtBinaries());

/** Serves two requests of one session, and prints what the second counts. */
const APP = `
const http = require('node:http');
const session = require('express-session');
const { RedisStore } = require('connect-redis-native');

const store = new RedisStore({ url: process.argv[2] });
const sessions = session({ store, secret: 'secret', resave: false, saveUninitialized: false });
const server = http.createServer((req, res) => {
  sessions(req, res, () => {
    req.session.views = (req.session.views ?? 0) + 1;
    res.end(String(req.session.views));
  });
});
server.listen(0, '127.0.0.1', async () => {
  const url = 'http://127.0.0.1:' + server.address().port;
  const [cookie] = (await fetch(url)).headers.getSetCookie();
  const second = await fetch(url, { headers: { cookie: cookie.split(';')[0] } });
  console.log('views: ' + (await second.text()));
  server.closeAllConnections();
  server.close();
  await store.close();
});
`;

/** Runs a program, and returns how it ended and what it printed. Not synchronously: the registry has to answer it. */
async function run(cwd, [program, ...args], env = {}) {
  const child = spawn(program, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    shell: process.platform === 'win32',
  });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'])
    child[name].setEncoding('utf8').on('data', (text) => {
      output[name] += text;
    });
  const [status] = await once(child, 'close');
  return { status, ...output };
}

/** Folders for one test file, and a registry of this package, its platforms' packages and express-session. */
class Installations {
  #folder = fs.mkdtempSync(path.join(os.tmpdir(), 'packaging-'));
  #registries = [];
  #dependencies;

  /** The tarballs of a release; only that of this platform has a binary. */
  tarballs;

  async start() {
    const none = this.path('no-binary.node');
    fs.writeFileSync(none, 'no binary');
    const binaries = Object.fromEntries(platforms().map((name) => [name, none]));
    this.tarballs = makeTarballs(this.path('dist'), { ...binaries, [PLATFORM]: BINARY });
    this.#dependencies = await this.pack(...foldersOf('express-session'));
    this.registry = await this.#startRegistry([...this.tarballs, ...this.#dependencies]);
  }

  /** Starts a registry that has express-session, but nothing of this package. */
  startRegistryWithoutPackage() {
    return this.#startRegistry(this.#dependencies);
  }

  async #startRegistry(tarballs) {
    const registry = await startRegistry(tarballs);
    this.#registries.push(registry);
    return registry;
  }

  async stop() {
    for (const registry of this.#registries) await registry.close();
    fs.rmSync(this.#folder, { recursive: true, force: true });
  }

  path(...parts) {
    return path.join(this.#folder, ...parts);
  }

  /** Packs the packages in these folders, and returns the paths of the tarballs. */
  async pack(...folders) {
    const out = fs.mkdtempSync(this.path('packed-'));
    const { status, stderr } = await this.run(out, ['npm', 'pack', '--ignore-scripts', ...folders]);
    if (status !== 0) throw new Error(stderr);
    return fs.readdirSync(out).map((name) => path.join(out, name));
  }

  /** Makes a folder with the app and an empty manifest. */
  makeApp(name) {
    const folder = this.path(name);
    fs.mkdirSync(folder);
    fs.writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ name, private: true }));
    fs.writeFileSync(path.join(folder, 'app.js'), APP);
    return folder;
  }

  /** Makes an app into which npm installs these packages, and returns its folder. */
  async npmInstall(name, packages, { registry = this.registry } = {}) {
    const folder = this.makeApp(name);
    const { status, stderr } = await this.run(folder, ['npm', 'install', ...packages], { registry });
    if (status !== 0) throw new Error(stderr);
    return folder;
  }

  run(cwd, command, { registry = this.registry, env } = {}) {
    return run(cwd, command, {
      npm_config_registry: registry?.url,
      npm_config_cache: this.path('npm-cache'),
      npm_config_store_dir: this.path('pnpm-store'),
      npm_config_loglevel: 'error',
      YARN_NPM_REGISTRY_SERVER: registry?.url,
      YARN_UNSAFE_HTTP_WHITELIST: '127.0.0.1',
      YARN_GLOBAL_FOLDER: this.path('yarn'),
      YARN_ENABLE_TELEMETRY: 'false',
      YARN_ENABLE_IMMUTABLE_INSTALLS: 'false',
      ...env,
    });
  }
}

/** Returns the folders of an installed package and of those that it depends on. */
function foldersOf(name, from = ROOT, found = new Set()) {
  const manifest = require.resolve(`${name}/package.json`, { paths: [from] });
  const folder = path.dirname(manifest);
  if (!found.has(folder)) {
    found.add(folder);
    for (const dependency of Object.keys(require(manifest).dependencies ?? {}))
      foldersOf(dependency, folder, found);
  }
  return found;
}

module.exports = { BINARY, Installations, PLATFORM, ROOT };
