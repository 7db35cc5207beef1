'use strict';

const { once } = require('node:events');
const http = require('node:http');
const { startRedis } = require('../../scripts/redis.js');
const { createApp } = require('./app.js');
const { openGate } = require('./gate.js');
const { openStores } = require('./stores.js');

const PORT = 3000;
const DRAIN_LIMIT_MS = 2_000;
const PARENT_POLL_MS = 250;
/** Every write is on disk before Redis acknowledges it, so sessions survive when the demo kills Redis. */
const DURABLE = ['--appendonly', 'yes', '--appendfsync', 'always'];

/** Serves the demo until Ctrl-C or a similar signal. */
async function serve() {
  const signal = stopRequest();
  const { HOST = '127.0.0.1', PORT: port, REDIS_URL } = process.env;
  const redis = REDIS_URL ? await openGate(REDIS_URL) : await startRedis({ args: DURABLE });
  const place = REDIS_URL
    ? 'Redis runs elsewhere (REDIS_URL). The demo pauses and cuts the connections to it.'
    : `The demo started Redis on port ${redis.port}, in ${redis.dir}. Redis ends with the demo.`;
  try {
    console.log(place);
    const stores = await openStores(redis.url);
    const app = createApp({ redis, stores, place });
    const server = http.createServer(app);
    try {
      await listen(server, HOST, port);
      console.log(`Open http://${HOST}:${server.address().port}/ (Ctrl-C ends the demo).`);
      if (!signal.aborted) await once(signal, 'abort');
      app.locals.endStreams();
      await close(server);
    } finally {
      await stores.close();
    }
  } finally {
    await redis.stop();
  }
}

/** Listens on the configured port; by default on the first free one from 3000. */
async function listen(server, host, configured) {
  for (let port = Number(configured || PORT); ; port++) {
    server.listen(port, host);
    try {
      await once(server, 'listening');
      return;
    } catch (error) {
      if (error.code !== 'EADDRINUSE') throw error;
      if (configured) throw new Error(`Port ${port} is in use. Set PORT to another one.`, { cause: error });
    }
  }
}

/** Lets pending requests finish, within a time limit. */
async function close(server) {
  if (!server.listening) return;
  const closed = once(server, 'close');
  server.close();
  const force = setTimeout(() => server.closeAllConnections(), DRAIN_LIMIT_MS);
  await closed;
  clearTimeout(force);
}

/** Returns an AbortSignal for Ctrl-C and similar signals. A second one ends the process at once. */
function stopRequest() {
  const request = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => request.abort());
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

module.exports = { serve };

if (require.main === module) {
  serve().catch((error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
}
