'use strict';

const { setTimeout: delay } = require('node:timers/promises');
const { RedisStore } = require('../..');
const { startRedis } = require('../support/redis.js');
const { describeProxies, startRedisProxy } = require('../support/redis-proxies.js');
const { startScriptedServer } = require('../support/scripted-server.js');
const { liveSession } = require('../support/sessions.js');
const { closeAll, keepStore } = require('../support/stores.js');
const { HANG_MS, until } = require('../support/until.js');

// Proxies that support only some of Redis's commands, with servers that become unreachable.

const OUTAGE_MS = 800;
const LIMIT_MS = 120_000;

let servers = [];
let proxy;
afterEach(async () => {
  await closeAll();
  await proxy?.stop();
  await Promise.all(servers.map((server) => server.stop()));
  servers = [];
  proxy = undefined;
});

const settings = {
  twemproxy: { hash: 'md5', timeout: 1000, server_retry_timeout: 100, auto_eject_hosts: false },
};

async function open(name, count, options) {
  for (let n = 0; n < count; n++) servers.push(await startRedis());
  const ports = servers.map(({ port }) => port);
  proxy = await startRedisProxy(name, ports, settings[name]);
  const store = keepStore(new RedisStore({ url: proxy.url, commandTimeout: HANG_MS, ...options }));
  store.on('error', () => {});
  return store;
}

describeProxies((name) => {
  test('a session is stored, read, touched and destroyed through a proxy', async () => {
    const store = await open(name, 1);
    const lost = [];
    store.on('reconnecting', (error) => lost.push(error.message));
    await store.set('abc', liveSession('abc', { n: 1 }));
    const session = await store.get('abc');
    expect(session.n).toBe(1);
    await store.touch('abc', session);
    await store.destroy('abc');
    expect(await store.get('abc')).toBeNull();
    expect(lost).toEqual([]);
  });

  test('an idle connection to a proxy stays open', async () => {
    const store = await open(name, 1);
    await store.set('abc', { n: 1 });
    const lost = [];
    store.on('reconnecting', (error) => lost.push(error.message));
    await delay(6000);
    expect(await store.get('abc')).toEqual({ n: 1 });
    expect(lost).toEqual([]);
  });

  test('operations through a proxy wait while its server is unreachable for a moment', async () => {
    const store = await open(name, 1);
    await store.set('abc', { n: 1 });
    const [{ port }] = servers;
    await servers[0].stop();
    const pending = Promise.all([store.set('abc', { n: 2 }), store.set('def', { n: 3 }), store.get('abc')]);
    pending.catch(() => {});
    await delay(OUTAGE_MS);
    servers = [await startRedis({ port })];
    await pending;
    expect(await store.get('def')).toEqual({ n: 3 });
  });

  test(
    'sessions of other servers are read while one server of a proxy is unreachable',
    async () => {
      const store = await open(name, 2, { commandTimeout: 3000 });
      const ids = Array.from({ length: 20 }, (_, n) => `session-${n}`);
      await Promise.all(ids.map((id) => store.set(id, { id })));
      await servers[1].stop();
      const outcomes = [];
      await Promise.all(
        ids.map((id) =>
          store.set(id, { id, again: true }).then(
            () => outcomes.push('served'),
            ({ code }) => outcomes.push(code),
          ),
        ),
      );
      // No operation that succeeds waits for the deadline of one that fails.
      const served = outcomes.lastIndexOf('served') + 1;
      expect(served).toBeGreaterThan(0);
      expect(new Set(outcomes.slice(0, served))).toEqual(new Set(['served']));
      expect(new Set(outcomes.slice(served))).toEqual(new Set(['ERR_REDIS_UNAVAILABLE']));
    },
    LIMIT_MS,
  );
});

// The replies of Envoy without any server, tested without Envoy.
test.each(['upstream failure', 'no upstream host', 'ERR Connection refused', 'ERR Host is down'])(
  'operations are retried when a proxy answers "%s"',
  async (error) => {
    let isAway = true;
    const server = await startScriptedServer((name) => {
      if (name === 'HELLO') return '-NOPROTO unsupported protocol version\r\n';
      if (name === 'PING') return '+PONG\r\n';
      if (name === 'CLIENT') return '+OK\r\n';
      if (isAway) return `-${error}\r\n`;
      return name === 'GET' ? '$7\r\n{"n":1}\r\n' : name === 'PTTL' ? ':-1\r\n' : '+OK\r\n';
    });
    servers.push(server);
    const store = keepStore(new RedisStore({ url: server.url }));
    let isReconnecting = false;
    store.on('reconnecting', () => {
      isReconnecting = true;
    });
    const read = store.get('abc');
    await until(() => isReconnecting);
    isAway = false;
    expect(await read).toEqual({ n: 1 });
  },
);
