'use strict';

const { once } = require('node:events');
const net = require('node:net');

const HOST = '127.0.0.1';

/**
 * Starts a server that speaks RESP and answers by a function: `answer(name, words, socket)` receives the name of a
 * command in upper case and all its words as Buffers, and returns the bytes of the reply. The server hangs up if that
 * is `null`.
 */
async function startScriptedServer(answer) {
  const sockets = new Set();
  const server = net.createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {}); // 'close' follows
    eachCommand(socket, (words) => {
      if (socket.destroyed || socket.writableEnded) return;
      const reply = answer(String(words[0]).toUpperCase(), words, socket);
      if (reply === null) socket.end();
      else socket.write(reply);
    });
  });
  server.listen(0, HOST);
  await once(server, 'listening');
  const { port } = server.address();
  return {
    port,
    url: `redis://${HOST}:${port}`,
    async stop() {
      server.close();
      for (const socket of sockets) socket.destroy();
      if (server.listening) await once(server, 'close');
    },
  };
}

/**
 * Starts a proxy to the server on `port` that hangs up, without a reply, on each command for which
 * `hangsUpOn(name, words)` is true, as twemproxy does.
 */
async function startHangUpProxy(port, hangsUpOn) {
  const proxy = { commands: [], hangUps: 0 };
  const server = net.createServer({ noDelay: true }, (client) => {
    const upstream = net.connect({ host: HOST, port, noDelay: true });
    for (const [side, other] of [
      [client, upstream],
      [upstream, client],
    ]) {
      side.on('error', () => {}); // 'close' follows
      side.on('close', () => other.destroy());
    }
    upstream.on('data', (bytes) => client.write(bytes));
    eachCommand(client, (words, bytes) => {
      if (client.destroyed) return;
      const name = String(words[0]).toUpperCase();
      if (hangsUpOn(name, words)) {
        proxy.hangUps += 1;
        client.destroy();
        return;
      }
      proxy.commands.push(name);
      upstream.write(bytes);
    });
    proxy.sockets.add(client);
    client.on('close', () => proxy.sockets.delete(client));
  });
  proxy.sockets = new Set();
  server.listen(0, HOST);
  await once(server, 'listening');
  proxy.port = server.address().port;
  proxy.url = `redis://${HOST}:${proxy.port}`;
  proxy.cut = () => {
    for (const socket of proxy.sockets) socket.destroy();
  };
  proxy.stop = async () => {
    server.close();
    proxy.cut();
    if (server.listening) await once(server, 'close');
  };
  return proxy;
}

/** Calls `take(words, bytes)` for each command that a client sends. */
function eachCommand(socket, take) {
  let unread = Buffer.alloc(0);
  socket.on('data', (chunk) => {
    unread = Buffer.concat([unread, chunk]);
    for (let command = read(unread); command !== undefined; command = read(unread)) {
      const bytes = unread.subarray(0, command.end);
      unread = unread.subarray(command.end);
      take(command.words, bytes);
    }
  });
}

/** Returns the command that begins with the first byte, and where it ends; undefined while it is incomplete. */
function read(bytes) {
  let at = 0;
  const number = () => {
    const end = bytes.indexOf('\r\n', at);
    if (end === -1) return undefined;
    const value = Number(bytes.toString('latin1', at + 1, end));
    at = end + 2;
    return value;
  };
  const count = number();
  if (count === undefined) return undefined;
  const words = [];
  for (let n = 0; n < count; n++) {
    const length = number();
    if (length === undefined || bytes.length < at + length + 2) return undefined;
    words.push(bytes.subarray(at, at + length));
    at += length + 2;
  }
  return { words, end: at };
}

module.exports = { startScriptedServer, startHangUpProxy };
