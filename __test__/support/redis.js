'use strict';

const net = require('node:net');
const { startRedis } = require('../../scripts/redis.js');

const CRLF = Buffer.from('\r\n');

/**
 * A RESP2 connection that shares no code with the clients under test, to see the very bytes in Redis.
 *
 * Bulk strings are returned as Buffers, simple strings as strings, integers as numbers, and an error reply
 * as a returned (not thrown) Error, also inside arrays.
 *
 * @param {number | import('node:net').NetConnectOpts} where a port of this machine, or options of net.connect
 */
async function connectRaw(where) {
  const socket = net.connect(typeof where === 'number' ? { host: '127.0.0.1', port: where } : where);
  const waiting = [];
  let unread = Buffer.alloc(0);

  await new Promise((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', reject);
  });
  socket.on('data', (chunk) => {
    unread = Buffer.concat([unread, chunk]);
    let reply = readReply(unread, 0);
    while (reply) {
      unread = unread.subarray(reply.end);
      waiting.shift().resolve(reply.value);
      reply = readReply(unread, 0);
    }
  });
  socket.on('error', () => {}); // 'close' follows and rejects the pending commands
  socket.on('close', () => {
    for (const { reject } of waiting.splice(0)) reject(new Error('the raw connection was closed'));
  });

  return {
    command(...args) {
      return new Promise((resolve, reject) => {
        if (socket.destroyed) return reject(new Error('the raw connection was closed'));
        waiting.push({ resolve, reject });
        socket.write(encodeCommand(args));
      });
    },
    close() {
      return new Promise((resolve) => {
        if (socket.destroyed) return resolve();
        socket.once('close', () => resolve());
        socket.destroy();
      });
    },
  };
}

function encodeCommand(args) {
  const parts = [Buffer.from(`*${args.length}\r\n`)];
  for (const arg of args) {
    const bytes = Buffer.isBuffer(arg) ? arg : Buffer.from(String(arg));
    parts.push(Buffer.from(`$${bytes.length}\r\n`), bytes, CRLF);
  }
  return Buffer.concat(parts);
}

/** Returns the reply that starts at `start` and where it ends, or undefined while it is incomplete. */
function readReply(bytes, start) {
  const lineEnd = bytes.indexOf(CRLF, start);
  if (lineEnd < 0) return undefined;
  const line = bytes.toString('utf8', start + 1, lineEnd);
  const end = lineEnd + CRLF.length;
  switch (String.fromCharCode(bytes[start])) {
    case '+':
      return { value: line, end };
    case '-':
      return { value: new Error(line), end };
    case ':':
      return { value: Number(line), end };
    case '$': {
      if (line === '-1') return { value: null, end };
      const bulkEnd = end + Number(line);
      if (bytes.length < bulkEnd + CRLF.length) return undefined;
      return { value: Buffer.from(bytes.subarray(end, bulkEnd)), end: bulkEnd + CRLF.length };
    }
    case '*': {
      if (line === '-1') return { value: null, end };
      const value = [];
      let next = end;
      for (let left = Number(line); left > 0; left -= 1) {
        const item = readReply(bytes, next);
        if (!item) return undefined;
        value.push(item.value);
        next = item.end;
      }
      return { value, end: next };
    }
    default:
      throw new Error(`not RESP2: ${JSON.stringify(bytes.toString('latin1', start, lineEnd))}`);
  }
}

/**
 * Sends one command on its own connection and returns the reply; rejects with an error reply.
 *
 * @param {object} server with `port` and, if it needs one, `password`
 */
async function askOnce({ port, password }, ...command) {
  const raw = await connectRaw(port);
  try {
    const commands = password === undefined ? [command] : [['AUTH', password], command];
    const replies = await Promise.all(commands.map((args) => raw.command(...args)));
    const error = replies.find((reply) => reply instanceof Error);
    if (error) throw error;
    return replies.at(-1);
  } finally {
    await raw.close();
  }
}

/**
 * A Redis for the tests of a suite (or of a `describe`): started before them, emptied before each, stopped
 * after them. `options` are those of `startRedis`.
 */
function useRedis(options) {
  let server;
  let raw;

  beforeAll(async () => {
    server = await startRedis(options);
    raw = await connectRaw(server.port);
  });
  beforeEach(async () => {
    expect(await raw.command('FLUSHALL')).toBe('OK');
    expect(await raw.command('CONFIG', 'RESETSTAT')).toBe('OK');
  });
  afterAll(async () => {
    await raw?.close();
    await server?.stop();
  });

  return {
    get server() {
      return server;
    },
    get port() {
      return server.port;
    },
    /** Sends a command over the raw connection. */
    command: (...args) => raw.command(...args),
    /** Returns how often Redis has run a command, also in scripts, since the test began. */
    async calls(command) {
      const stats = String(await raw.command('INFO', 'commandstats'));
      return Number(new RegExp(`^cmdstat_${command}:calls=(\\d+)`, 'm').exec(stats)?.[1] ?? 0);
    },
    /** Returns the keys in Redis, as the strings they were made of, sorted. */
    async keys() {
      return (await raw.command('KEYS', '*')).map(String).sort();
    },
    /** Returns the session stored at `key` as plain `JSON.parse` reads it; null if there is none. */
    async stored(key) {
      return JSON.parse(await raw.command('GET', key));
    },
    /** Returns the time a key has left, in ms; -1 if it has no expiry, -2 if there is no such key. */
    lifetime: (key) => raw.command('PTTL', key),
  };
}

module.exports = { startRedis, connectRaw, askOnce, useRedis };
