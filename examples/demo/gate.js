'use strict';

const { once } = require('node:events');
const net = require('node:net');

const HOST = '127.0.0.1';

/**
 * Opens a TCP proxy to a Redis that the demo did not start, as with docker compose. To the app, pausing and cutting
 * the connections looks as if Redis itself had been paused and killed. Its methods are those of scripts/redis.js.
 */
async function openGate(redisUrl) {
  const target = new URL(redisUrl);
  if (target.protocol !== 'redis:') throw new Error('REDIS_URL must begin with redis://.');
  /** Open connections, as pairs of sockets. */
  const pairs = new Set();
  let isPaused = false;
  let port = 0;

  const join = ([client, server]) => client.pipe(server).pipe(client);
  const listener = net.createServer((client) => {
    const server = net.connect(Number(target.port || 6379), target.hostname);
    const pair = [client, server];
    pairs.add(pair);
    for (const socket of pair) {
      socket.on('error', () => {}); // 'close' follows
      socket.on('close', () => {
        for (const each of pair) each.destroy();
        pairs.delete(pair);
      });
    }
    if (!isPaused) join(pair);
  });

  const gate = {
    pause() {
      isPaused = true;
      for (const [client, server] of pairs) {
        client.unpipe(server).pause();
        server.unpipe(client).pause();
      }
    },
    resume() {
      isPaused = false;
      pairs.forEach(join);
    },
    async kill() {
      if (!listener.listening) return;
      const closed = once(listener, 'close');
      listener.close();
      for (const [client] of pairs) client.destroy();
      await closed;
    },
    async restart() {
      await gate.kill();
      isPaused = false;
      listener.listen(port, HOST);
      await once(listener, 'listening');
      port = listener.address().port;
    },
    stop: () => gate.kill(),
  };

  await gate.restart();
  const url = new URL(target);
  url.host = `${HOST}:${port}`;
  gate.url = url.href;
  return gate;
}

module.exports = { openGate };
