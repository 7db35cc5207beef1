'use strict';

const { RedisStore } = require('../..');
const { askOnce, startRedis } = require('../support/redis.js');
const { startHangUpProxy, startScriptedServer } = require('../support/scripted-server.js');
const { liveSession } = require('../support/sessions.js');
const { closeAll, keepStore } = require('../support/stores.js');

// Proxies that support only some of Redis's commands.

const PASSWORD = 'of-the-app';

let server;
let proxy;
afterEach(async () => {
  await closeAll();
  await proxy?.stop();
  await server?.stop();
  proxy = server = undefined;
});

/** Uses a store for one session. Returns the messages of the events that it emits meanwhile. */
async function use(store) {
  const events = [];
  store.on('error', (error) => events.push(error.message));
  store.on('reconnecting', (error) => events.push(error.message));
  await store.set('abc', liveSession('abc', { n: 1 }));
  const session = await store.get('abc');
  expect(session.n).toBe(1);
  await store.touch('abc', session);
  await store.destroy('abc');
  expect(await store.get('abc')).toBeNull();
  return events;
}

describe.each([
  ['without a password', ''],
  ['with a password', `:${PASSWORD}@`],
])('%s', (_name, login) => {
  beforeEach(async () => {
    server = await startRedis({ args: login === '' ? [] : ['--requirepass', PASSWORD] });
  });

  test.each([
    ['HELLO', ['HELLO']],
    ['CLIENT', ['CLIENT']],
    ['HELLO and CLIENT', ['HELLO', 'CLIENT']],
    ['every command without a session', ['HELLO', 'CLIENT', 'SELECT', 'INFO', 'ROLE', 'COMMAND']],
  ])('a store connects through a proxy that hangs up on %s', async (_what, names) => {
    proxy = await startHangUpProxy(server.port, (name) => names.includes(name));
    const url = proxy.url.replace('//', `//${login}`);
    const store = keepStore(new RedisStore({ url }));
    expect(await use(store)).toEqual([]);
    proxy.cut();
    await store.set('abc', { n: 2 });
    expect(await store.get('abc')).toEqual({ n: 2 });
  });
});

test('a store tries the full handshake with a proxy again after a reconnect', async () => {
  server = await startRedis();
  let hangsUp = true;
  proxy = await startHangUpProxy(server.port, (name) => hangsUp && name === 'HELLO');
  const store = keepStore(new RedisStore({ url: proxy.url, cache: true }));
  await store.set('abc', { n: 1 });
  expect(String(await askOnce(server, 'CLIENT', 'LIST'))).not.toContain('resp=3');
  hangsUp = false;
  proxy.cut();
  await store.set('abc', { n: 2 });
  expect(String(await askOnce(server, 'CLIENT', 'LIST'))).toContain('resp=3');
});

test('a store authenticates with AUTH when HELLO with a password is answered with NOAUTH', async () => {
  let isIn = false;
  server = await startScriptedServer((name, words) => {
    if (name === 'AUTH') {
      isIn = String(words.at(-1)) === PASSWORD;
      return isIn ? '+OK\r\n' : '-ERR invalid password\r\n';
    }
    if (!isIn) return '-NOAUTH Authentication required.\r\n';
    return name === 'GET' ? '$7\r\n{"n":1}\r\n' : name === 'PTTL' ? ':-1\r\n' : '+OK\r\n';
  });
  const store = keepStore(new RedisStore({ url: server.url.replace('//', `//:${PASSWORD}@`) }));
  expect(await store.get('abc')).toEqual({ n: 1 });
});

test.each(['PTTL', 'PEXPIRE', 'UNLINK'])(
  'a store replaces %s where a proxy hangs up on it, and then keeps its connection',
  async (command) => {
    server = await startRedis();
    proxy = await startHangUpProxy(server.port, (name) => name === command);
    const store = keepStore(new RedisStore({ url: proxy.url }));
    const run = async () => {
      await store.set('abc', liveSession('abc', { n: 1 }));
      const session = await store.get('abc');
      await store.touch('abc', session);
      await store.clear();
      expect(await askOnce(server, 'DBSIZE')).toBe(0);
    };
    await run();
    const { hangUps } = proxy;
    expect(hangUps).toBeGreaterThan(0);
    await run();
    expect(proxy.hangUps).toBe(hangUps);
  },
);
