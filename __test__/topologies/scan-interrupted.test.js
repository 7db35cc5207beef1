'use strict';

const { RedisStore } = require('../..');
const { clients } = require('../support/clients.js');
const { startCluster } = require('../support/cluster.js');
const { startProxy } = require('../support/proxy.js');
const { connectRaw, startRedis } = require('../support/redis.js');
const { startSentinel } = require('../support/sentinel.js');
const { closeAll, keepStore } = require('../support/stores.js');

// A SCAN cursor is valid only for the server process that returned it. When that is replaced during a scan, the result
// is still complete.

const COUNT = 20_000;
const LIMIT_MS = 240_000;
const DEADLINE_MS = 60_000;
const HOST = '127.0.0.1';
/** Keys survive a restart. */
const PERSISTENT = ['--appendonly', 'yes', '--appendfsync', 'no'];

const cleanUps = [];
const onEnd = (cleanUp) => cleanUps.unshift(cleanUp);
afterEach(async () => {
  await closeAll();
  for (const cleanUp of cleanUps.splice(0)) await cleanUp();
});

const expectedIds = Array.from({ length: COUNT }, (_, n) => `s${n}`).sort();

/** Each method that reads or clears all sessions. Resolves with the ids, or their number, or null. */
const methods = {
  ids: (store) => store.ids(),
  all: async (store) => (await store.all()).map(({ id }) => id),
  scan: async (store) => {
    const ids = [];
    for await (const { id } of store.scan()) ids.push(id);
    return ids;
  },
  length: (store) => store.length(),
  clear: (store) => store.clear(),
};

function checkComplete(method, result) {
  if (method === 'length') expect(result).toBe(COUNT);
  else if (method === 'clear') expect(result).toBeNull();
  else {
    expect(result).toHaveLength(COUNT);
    expect(result.sort()).toEqual(expectedIds);
  }
}

/** Stores the sessions that `isOwn` selects over a raw connection to a primary. */
async function fill(port, isOwn = () => true) {
  const raw = await connectRaw(port);
  const ids = expectedIds.filter(isOwn);
  const replies = await Promise.all(ids.map((id) => raw.command('SET', `sess:${id}`, '{"n":1}')));
  expect(replies.every((reply) => reply === 'OK')).toBe(true);
  await raw.close();
}

/** Resolves when a server has run `calls` SCANs since it started. */
async function isScanned(port, calls = 30) {
  const raw = await connectRaw(port);
  for (;;) {
    const stats = String(await raw.command('INFO', 'commandstats'));
    if (Number(/^cmdstat_scan:calls=(\d+)/m.exec(stats)?.[1] ?? 0) >= calls) break;
  }
  await raw.close();
}

/** Starts a proxy that makes a scan take long enough to be interrupted. Returns its port. */
async function startSlowProxy(port) {
  const proxy = await startProxy(port);
  onEnd(() => proxy.close());
  proxy.delay({ request: 1 });
  return proxy.port;
}

/** Runs a method, and `interrupt` as soon as the server on `port` has answered a part of it. */
async function interrupted(store, method, port, interrupt) {
  let isOver = false;
  const over = () => {
    isOver = true;
  };
  const result = methods[method](store);
  result.then(over, over);
  await isScanned(port);
  expect(isOver).toBe(false);
  const [value] = await Promise.all([result, interrupt()]);
  return value;
}

const keysOn = async (port) => {
  const raw = await connectRaw(port);
  const count = await raw.command('DBSIZE');
  await raw.close();
  return count;
};

const open = (options) =>
  keepStore(new RedisStore({ commandTimeout: DEADLINE_MS, scanCount: 50, ...options }));

/** A client of the app that runs the commands, as an option. */
async function byClient(name, topology, place, options) {
  const { make, connect, end } = clients[name];
  const client = make[topology](place, options);
  await connect(client);
  onEnd(() => end(client));
  return { client, transport: 'client' };
}

describe('a server that restarts', () => {
  const sources = {
    url: (port) => ({ url: `redis://${HOST}:${port}` }),
    'redis 6': (port) => byClient('redis 6', 'standalone', { places: [{ host: HOST, port }] }),
    'ioredis 6': (port) => byClient('ioredis 6', 'standalone', { places: [{ host: HOST, port }] }),
  };

  test.each([
    ...Object.keys(methods).map((method) => ['url', method]),
    ['redis 6', 'ids'],
    ['redis 6', 'clear'],
    ['ioredis 6', 'all'],
    ['ioredis 6', 'length'],
  ])(
    'a restart of the server under %s during `%s` leaves the result complete',
    async (source, method) => {
      const server = await startRedis({ args: PERSISTENT });
      onEnd(() => server.stop());
      await fill(server.port);
      const store = open(await sources[source](await startSlowProxy(server.port)));
      const result = await interrupted(store, method, server.port, () => server.restart());
      checkComplete(method, result);
      expect(await keysOn(server.port)).toBe(method === 'clear' ? 0 : COUNT);
    },
    LIMIT_MS,
  );

  test(
    'a restart of the server behind a proxy that keeps the connection open leaves the result complete',
    async () => {
      const server = await startRedis({ args: PERSISTENT });
      onEnd(() => server.stop());
      await fill(server.port);
      const port = await startSwitch(server.port);
      const store = open({ url: `redis://${HOST}:${port}` });
      const result = await interrupted(store, 'ids', server.port, () => server.restart());
      checkComplete('ids', result);
    },
    LIMIT_MS,
  );

  test(
    'a scan rejects with the reason when its connection is lost repeatedly',
    async () => {
      const server = await startRedis({ args: PERSISTENT });
      onEnd(() => server.stop());
      await fill(server.port);
      const proxy = await startProxy(server.port);
      onEnd(() => proxy.close());
      const store = open({ url: proxy.url, scanCount: 10 });
      await store.get('none');
      // Every connection is cut after some replies: none reads all keys.
      proxy.cutAfter(20_000);
      await expect(store.length()).rejects.toMatchObject({
        code: 'ERR_REDIS_UNAVAILABLE',
        message: expect.stringMatching(/^length failed: the scan was interrupted before all keys were read/),
      });
    },
    LIMIT_MS,
  );
});

/** Starts a proxy that answers request by request, and waits for its server while that is away, as Envoy does. */
async function startSwitch(port) {
  const net = require('node:net');
  let server;
  const sockets = new Set();
  const ask = async (request) => {
    for (;;) {
      try {
        server ??= await connectRaw(port);
        const reply = await server.command(...request);
        if (!String(reply?.message).startsWith('LOADING')) return reply;
      } catch {
        server = undefined;
      }
    }
  };
  const listener = net.createServer((socket) => {
    sockets.add(socket);
    let unread = '';
    let turn = Promise.resolve();
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      unread += chunk.toString('latin1');
      for (;;) {
        const request = readRequest(unread);
        if (request === undefined) return;
        unread = unread.slice(request.end);
        turn = turn.then(async () => {
          const isHello = request.words[0] === 'HELLO';
          const reply = isHello ? new Error('ERR unknown command') : await ask(request.words);
          socket.write(encode(reply));
        });
      }
    });
  });
  await new Promise((resolve) => listener.listen(0, HOST, resolve));
  onEnd(async () => {
    for (const socket of sockets) socket.destroy();
    listener.close();
    await server?.close();
  });
  return listener.address().port;
}

/** Returns the first request in the protocol's text, if it is complete. */
function readRequest(text) {
  const head = /^\*(\d+)\r\n/.exec(text);
  if (head === null) return undefined;
  let end = head[0].length;
  const words = [];
  for (let left = Number(head[1]); left > 0; left--) {
    const length = /^\$(\d+)\r\n/.exec(text.slice(end));
    if (length === null) return undefined;
    end += length[0].length;
    words.push(text.slice(end, end + Number(length[1])));
    end += Number(length[1]) + 2;
  }
  return end <= text.length ? { words, end } : undefined;
}

function encode(reply) {
  if (reply instanceof Error) return `-${reply.message}\r\n`;
  if (Array.isArray(reply)) return `*${reply.length}\r\n${reply.map(encode).join('')}`;
  if (typeof reply === 'number') return `:${reply}\r\n`;
  if (reply === null) return '$-1\r\n';
  if (Buffer.isBuffer(reply)) return `$${reply.length}\r\n${reply.toString('latin1')}\r\n`;
  return `+${reply}\r\n`;
}

describe('a primary of a Sentinel group that dies', () => {
  const sources = {
    sentinel: (group, natMap) => ({
      sentinel: { name: group.name, addresses: group.addresses, natMap },
    }),
    'redis 6': (group) => byClient('redis 6', 'sentinel', { name: group.name, places: group.addresses }),
  };

  test.each([
    ['sentinel', 'ids'],
    ['sentinel', 'clear'],
    ['redis 6', 'ids'],
  ])(
    'a failover under %s during `%s` leaves the result complete',
    async (source, method) => {
      const group = await startSentinel();
      onEnd(() => group.stop());
      const primary = await group.primary();
      await fill(primary.port);
      const raw = await connectRaw(primary.port);
      expect(await raw.command('WAIT', 2, 60_000)).toBe(2);
      await raw.close();
      const natMap = {};
      for (const { port } of group.servers)
        natMap[`${HOST}:${port}`] = { host: HOST, port: await startSlowProxy(port) };
      const store = open({ scanCount: 10, ...(await sources[source](group, natMap)) });
      await store.get('none');
      let successor;
      const result = await interrupted(store, method, primary.port, async () => {
        successor = await group.failOver();
      });
      checkComplete(method, result);
      expect(await keysOn(successor.port)).toBe(method === 'clear' ? 0 : COUNT);
    },
    LIMIT_MS,
  );
});

describe('a node of a cluster', () => {
  const sources = {
    cluster: (cluster, natMap) => ({ cluster: { addresses: cluster.addresses, natMap } }),
    'ioredis 6': (cluster, natMap) =>
      byClient('ioredis 6', 'cluster', { places: cluster.addresses }, { natMap }),
  };

  async function start(primaries, replicas) {
    const cluster = await startCluster({ primaries, replicas, args: PERSISTENT });
    onEnd(() => cluster.stop());
    const slots = new Map();
    const raw = await connectRaw(cluster.nodes[0].port);
    await Promise.all(
      expectedIds.map(async (id) => slots.set(id, await raw.command('CLUSTER', 'KEYSLOT', `sess:${id}`))),
    );
    await raw.close();
    const nodes = cluster.nodes.slice(0, primaries);
    const starts = await Promise.all(nodes.map((node) => cluster.firstSlotOf(node)));
    const ownerOf = (id) => starts.findLastIndex((first) => first <= slots.get(id));
    for (const [index, { port }] of nodes.entries()) await fill(port, (id) => ownerOf(id) === index);
    const natMap = {};
    for (const { port } of cluster.nodes)
      natMap[`${HOST}:${port}`] = { host: HOST, port: await startSlowProxy(port) };
    return { cluster, natMap };
  }

  test.each([
    ['cluster', 'ids'],
    ['cluster', 'clear'],
    ['ioredis 6', 'ids'],
  ])(
    'a restart of a node under %s during `%s` leaves the result complete',
    async (source, method) => {
      const { cluster, natMap } = await start(2, 0);
      const store = open({ scanCount: 10, ...(await sources[source](cluster, natMap)) });
      await store.get('none');
      const node = cluster.nodes[1];
      const result = await interrupted(store, method, node.port, () => node.restart());
      checkComplete(method, result);
      if (method === 'clear') for (const { port } of cluster.nodes) expect(await keysOn(port)).toBe(0);
    },
    LIMIT_MS,
  );

  test(
    'a failover in a cluster during `ids` leaves the result complete',
    async () => {
      const { cluster, natMap } = await start(3, 1);
      for (const { port } of await cluster.primaries()) {
        const raw = await connectRaw(port);
        expect(await raw.command('WAIT', 1, 60_000)).toBe(1);
        await raw.close();
      }
      const store = open({ scanCount: 10, ...sources.cluster(cluster, natMap) });
      await store.get('none');
      const node = cluster.nodes[0];
      const result = await interrupted(store, 'ids', node.port, () => cluster.failOver(node));
      checkComplete('ids', result);
    },
    LIMIT_MS,
  );
});
