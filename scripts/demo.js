'use strict';

// npm run demo: set-up, a Redis that keeps its data, and the app of examples/demo in its own process.

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { ask, startRedis } = require('./redis.js');
const { setUp } = require('./setup.js');

const SERVER = path.join(__dirname, '..', 'examples', 'demo', 'server.js');
/** Always the same, so that sessions outlive the demo and its Redis. */
const DATA = path.join(os.tmpdir(), 'connect-redis-native-demo');
/** Every write is on disk before it is acknowledged: a session survives a crash of the machine, too. */
const DURABLE = ['--appendonly', 'yes', '--appendfsync', 'always'];
/** Longer than the app takes to let requests and its store finish. */
const STOP_LIMIT_MS = 10_000;
const PARENT_POLL_MS = 250;

/** Starts a Redis for the demo. Returns `{ url, stop }`. */
async function demoRedis() {
  fs.mkdirSync(DATA, { recursive: true, mode: 0o700 });
  // Every user can make a folder of this name there.
  const folder = fs.lstatSync(DATA);
  if (process.getuid && !isPrivate(folder))
    throw new Error(`${DATA} is not a folder that only this user can use. Remove it and run this again.`);
  const unixSocket = path.join(DATA, 'redis.sock');
  // Two servers on the same files would corrupt them, so a second demo joins the first.
  if (await isServed(unixSocket)) {
    return { url: `redis+unix://${unixSocket}`, async stop() {} };
  }
  return startRedis({ dir: DATA, unixSocket, args: DURABLE });
}

function isPrivate(folder) {
  return folder.isDirectory() && folder.uid === process.getuid() && (folder.mode & 0o77) === 0;
}

async function isServed(unixSocket) {
  try {
    await ask(unixSocket, 'PING');
    return true;
  } catch {
    return false;
  }
}

/** Runs the app, which prints its address itself, until it ends or a signal requests that. */
async function runApp(redisUrl, stopping) {
  if (stopping.aborted) return;
  const app = spawn(process.execPath, [SERVER], {
    env: { ...process.env, REDIS_URL: redisUrl },
    // When this process is killed, the app sees its end of the channel close, and ends as well.
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    // In its own process group, so that Ctrl-C reaches it once, through this process.
    detached: true,
  });
  const exited = once(app, 'exit');
  let force;
  const stop = () => {
    app.kill('SIGTERM');
    force = setTimeout(() => app.kill('SIGKILL'), STOP_LIMIT_MS);
  };
  stopping.addEventListener('abort', stop);
  try {
    const [code, signal] = await exited;
    // While it starts it has no handler, and the signal ends it by default.
    const isExpected = code === 0 || (stopping.aborted && signal === 'SIGTERM');
    if (!isExpected) throw new Error(`The app ended with ${signal ?? `exit code ${code}`}.`);
  } finally {
    clearTimeout(force);
  }
}

/** Returns an AbortSignal for Ctrl-C and similar signals. */
function stopRequest() {
  const request = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => request.abort());
  if (process.env.npm_lifecycle_event) {
    // A SIGTERM for npm ends npm's shell, which does not pass it on; no event reports that.
    const parent = process.ppid;
    const watch = setInterval(() => {
      if (process.ppid !== parent) request.abort();
    }, PARENT_POLL_MS);
    watch.unref();
  }
  return request.signal;
}

async function main() {
  const url = process.env.REDIS_URL;
  await setUp({ redis: !url });

  const stopping = stopRequest();
  if (url) {
    await runApp(url, stopping);
    return;
  }
  const redis = await demoRedis();
  try {
    await runApp(redis.url, stopping);
  } finally {
    await redis.stop();
  }
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
