'use strict';

const { once } = require('node:events');
const http = require('node:http');
const { RedisStore } = require('connect-redis-native');
const { createApp } = require('./app.js');

const HOST = '127.0.0.1';
const PORT = 3000;
const DRAIN_LIMIT_MS = 2_000;
/** For trying things out on one's own machine; a secret that everybody knows protects nothing. */
const DEVELOPMENT_SECRET = 'connect-redis-native demo';

/**
 * Serves the demo until Ctrl-C, on the first port from `PORT` on that is free.
 *
 * @param {string} [redisUrl] by default, a Redis on this machine
 */
async function serve(redisUrl) {
  const { env } = process;
  const store = new RedisStore({ url: redisUrl, prefix: 'demo:sess:' });
  const server = http.createServer(createApp({ store, secret: env.SESSION_SECRET || DEVELOPMENT_SECRET }));
  try {
    await listen(server, Number(env.PORT || PORT));
    console.log(`The demo is at http://${HOST}:${server.address().port}/ (Ctrl-C ends it).`);
    await stopRequested();
    await close(server);
  } finally {
    await store.close();
  }
}

async function listen(server, port) {
  for (;;) {
    server.listen(port, HOST);
    try {
      await once(server, 'listening');
      return;
    } catch (error) {
      if (error.code !== 'EADDRINUSE') throw error;
      port += 1;
    }
  }
}

/** Waits for Ctrl-C or its like; a second one then ends the process at once. */
async function stopRequested() {
  const others = new AbortController();
  await Promise.race(['SIGINT', 'SIGTERM'].map((name) => once(process, name, { signal: others.signal })));
  others.abort();
}

/** Lets requests under way finish, within reason. */
async function close(server) {
  const closed = once(server, 'close');
  server.close();
  const force = setTimeout(() => server.closeAllConnections(), DRAIN_LIMIT_MS);
  await closed;
  clearTimeout(force);
}

module.exports = { serve };

if (require.main === module) {
  serve(process.env.REDIS_URL || undefined).catch((error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
}
