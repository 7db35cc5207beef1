'use strict';

// Starts Redis servers for the tests, the demo and the benchmarks. Uses nothing from npm: it runs before npm has
// installed anything, and what it reports about a server must not depend on the clients that are tested with it.

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { setTimeout: delay } = require('node:timers/promises');
const { findServer } = require('./servers.js');

const HOST = '127.0.0.1';
const START_LIMIT_MS = 15_000;
const STOP_LIMIT_MS = 5_000;
const ANSWER_LIMIT_MS = 2_000;
const POLL_MS = 20;
// Another process may take the free port before the server does.
const PORT_ATTEMPTS = 5;
// A cluster node listens on its port + 10000 as well.
const HIGHEST_PORT = 65_535 - 10_000;

/**
 * Starts a server on the loopback interface and waits until it answers.
 *
 * @param {object} [options]
 * @param {string} [options.program] the server's binary; by default the one on PATH, or else an installed one of servers.js
 * @param {number} [options.port] a free one by default
 * @param {string} [options.dir] where the server keeps its files; by default a temporary folder, removed by
 * `stop`
 * @param {string} [options.config] the text of a configuration file, which a Sentinel needs, as it writes there
 * @param {string[]} [options.args] additional arguments, such as `['--appendonly', 'yes']`; without any, nothing
 * is kept on disk
 * @param {string} [options.unixSocket] the socket to listen on as well; by default `redis.sock` in the folder
 * @param {object} [options.tls] makes it listen with TLS as well, on its `tlsPort`
 * @param {string} options.tls.cert the file of its certificate, along with `key` and `ca`
 * @param {string} [options.tls.clients] client certificates: `yes`, `no` or `optional`
 */
async function startRedis({ program = findServer(), port, dir, config, args = [], unixSocket, tls } = {}) {
  if (!program) throw new Error('No Redis or Valkey server is installed; run `node scripts/setup.js`.');

  const ownDir = dir === undefined;
  const folder = ownDir ? temporaryFolder() : path.resolve(dir);
  fs.mkdirSync(folder, { recursive: true });

  for (let attempt = 1; ; attempt++) {
    const server = new RedisServer(program, {
      port: port ?? (await freePort()),
      tlsPort: tls && (await freePort()),
      tls,
      dir: folder,
      ownDir,
      config,
      args,
      unixSocket: unixSocket ?? path.join(folder, 'redis.sock'),
    });
    try {
      await server.start();
      return server;
    } catch (error) {
      const retry = port === undefined && error.portTaken && attempt < PORT_ATTEMPTS;
      if (retry) continue;
      await server.stop();
      throw error;
    }
  }
}

class RedisServer {
  #program;
  #args;
  #ownDir;
  #watchdog;

  /** The server's child process; another one after `restart`. */
  process;

  constructor(program, { port, tlsPort, tls, dir, ownDir, config, args, unixSocket }) {
    this.port = port;
    this.tlsPort = tlsPort;
    this.dir = dir;
    this.unixSocket = unixSocket;
    this.url = `redis://${HOST}:${port}`;
    this.#program = program;
    this.#ownDir = ownDir;
    const address = ['--port', String(port), '--bind', HOST, '--unixsocket', unixSocket];
    const files = ['--dir', dir, '--save', '', '--appendonly', 'no'];
    this.#args = [...address, ...files, ...(tls ? tlsArgs(tlsPort, tls) : []), ...args];
    if (config !== undefined) {
      const file = path.join(dir, 'server.conf');
      fs.writeFileSync(file, config);
      this.#args.unshift(file);
    }
  }

  get pid() {
    return this.process.pid;
  }

  get isRunning() {
    return this.process !== undefined && this.process.exitCode === null && this.process.signalCode === null;
  }

  async start() {
    const log = path.join(this.dir, 'redis.log');
    const output = fs.openSync(log, 'a');
    const logStart = fs.fstatSync(output).size;
    // In its own process group, so that Ctrl-C reaches the server only through its starter.
    this.process = spawn(this.#program, this.#args, { stdio: ['ignore', output, output], detached: true });
    fs.closeSync(output);
    await once(this.process, 'spawn');
    this.#watchdog = killWithParent(this.process);

    const deadline = Date.now() + START_LIMIT_MS;
    while (this.isRunning && Date.now() < deadline) {
      if (await isReady(this.unixSocket)) return;
      await delay(POLL_MS);
    }
    const logged = fs.readFileSync(log, 'utf8').slice(logStart).trim();
    const error = new Error(`The Redis server on port ${this.port} did not start; its output:\n${logged}`);
    error.portTaken = /address already in use/i.test(logged);
    throw error;
  }

  /** Ends the server cleanly, so that it can write its files, and removes its temporary folder. */
  async stop() {
    await this.#end('SIGTERM');
    if (this.#ownDir) fs.rmSync(this.dir, { recursive: true, force: true });
  }

  /** Ends the server as a crash would. Its folder stays for `restart`; `stop` removes it. */
  async kill() {
    await this.#end('SIGKILL');
  }

  /** Makes the server hang: connections stay open, and nothing is answered. */
  pause() {
    this.process.kill('SIGSTOP');
  }

  resume() {
    this.process.kill('SIGCONT');
  }

  /** Ends the server, if it runs, and restarts it with the same port, folder and arguments. */
  async restart() {
    await this.#end('SIGTERM');
    await this.start();
  }

  async #end(signal) {
    if (!this.isRunning) return;
    const exited = once(this.process, 'exit');
    this.process.kill(signal);
    this.process.kill('SIGCONT'); // a paused server receives SIGTERM only when it resumes
    const force = setTimeout(() => this.process.kill('SIGKILL'), STOP_LIMIT_MS);
    await exited;
    clearTimeout(force);
    this.#watchdog.kill('SIGKILL');
  }
}

function tlsArgs(port, { cert, key, ca, clients = 'no' }) {
  const files = ['--tls-cert-file', cert, '--tls-key-file', key, '--tls-ca-cert-file', ca];
  return ['--tls-port', String(port), '--tls-auth-clients', clients, ...files];
}

/**
 * Kills a child when this process ends for whatever reason. An 'exit' handler is not enough: a process that is
 * killed runs none, and within Jest `process` is a copy whose handlers never run. So a shell waits for the end
 * of its input, which comes when this process has ended.
 */
function killWithParent(child) {
  const watchdog = spawn('/bin/sh', ['-c', 'read -r _; kill -KILL "$1"', 'sh', String(child.pid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  watchdog.unref();
  watchdog.stdin.unref();
  watchdog.stdin.on('error', () => {});
  // The system may reuse the pid of a child that has ended for another process.
  child.once('exit', () => watchdog.kill('SIGKILL'));
  return watchdog;
}

// Queried over the server's own socket file: on the port, another server might answer. The server listens on both or
// ends. An error reply such as NOAUTH shows that it runs; one that still loads its data is not ready.
async function isReady(unixSocket) {
  try {
    return !(await ask(unixSocket, 'PING')).startsWith('-LOADING');
  } catch {
    return false;
  }
}

/**
 * Sends one command, as one line of words, to the server at a port or socket file, and returns the first line of
 * the reply unchanged, with its type (`+PONG`, `:1`, `-ERR …`).
 */
async function ask(address, command) {
  const target = typeof address === 'string' ? { path: address } : { port: address, host: HOST };
  const socket = net.connect({ ...target, signal: AbortSignal.timeout(ANSWER_LIMIT_MS) });
  socket.setEncoding('utf8');
  try {
    socket.write(`${command}\r\n`);
    let reply = '';
    for await (const chunk of socket) {
      reply += chunk;
      const end = reply.indexOf('\r\n');
      if (end !== -1) return reply.slice(0, end);
    }
    throw new Error(`The server at ${address} closed the connection.`);
  } finally {
    socket.destroy();
  }
}

/** Makes a folder for the files of one server. */
function temporaryFolder() {
  return fs.mkdtempSync(path.join(os.tmpdir(), 'redis-'));
}

/** Returns a port of the loopback interface on which no server listens at the moment. */
async function freePort() {
  for (;;) {
    const listener = net.createServer().listen(0, HOST);
    await once(listener, 'listening');
    const { port } = listener.address();
    listener.close();
    await once(listener, 'close');
    if (port <= HIGHEST_PORT) return port;
  }
}

module.exports = { startRedis, ask, freePort, killWithParent, temporaryFolder };
