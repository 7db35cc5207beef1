'use strict';

const { once } = require('node:events');
const http = require('node:http');
const { RedisStore } = require('connect-redis-native');
const { createApp } = require('./app.js');

const HOST = '127.0.0.1';
const PORT = 3000;
const DRAIN_LIMIT_MS = 2_000;
/** For experiments on one's own machine: a published secret protects nothing. */
const DEVELOPMENT_SECRET = 'connect-redis-native demo';

/** Serves the demo until Ctrl-C or SIGTERM. */
async function serve() {
  const { env } = process;
  // Without a URL, a Redis on this machine.
  const store = new RedisStore({ url: env.REDIS_URL || undefined, prefix: 'demo:sess:' });
  const server = http.createServer(createApp({ store, secret: env.SESSION_SECRET || DEVELOPMENT_SECRET }));
  try {
    await listen(server, env.PORT);
    console.log(`The demo is at http://${HOST}:${server.address().port}/ (Ctrl-C ends it).`);
    await stopRequested();
    await close(server);
  } finally {
    await store.close();
  }
}

/** Listens on the given port; without one, on the first free one from the default on. */
async function listen(server, given) {
  for (let port = Number(given || PORT); ; port++) {
    server.listen(port, HOST);
    try {
      await once(server, 'listening');
      return;
    } catch (error) {
      if (error.code !== 'EADDRINUSE') throw error;
      if (given) throw new Error(`Port ${port} is taken; PORT names another one.`, { cause: error });
    }
  }
}

/**
 * Resolves on Ctrl-C or a similar signal, or when the process that started this one with a channel to it ends. A
 * second signal then ends the process at once.
 */
async function stopRequested() {
  const others = new AbortController();
  const requests = ['SIGINT', 'SIGTERM', 'disconnect'];
  await Promise.race(requests.map((name) => once(process, name, { signal: others.signal })));
  others.abort();
}

/** Lets pending requests finish, within a time limit. */
async function close(server) {
  const closed = once(server, 'close');
  server.close();
  const force = setTimeout(() => server.closeAllConnections(), DRAIN_LIMIT_MS);
  await closed;
  clearTimeout(force);
}

serve().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
