'use strict';

const { setTimeout: delay } = require('node:timers/promises');
const { RedisStore } = require('../..');
const { connectRaw, startRedis } = require('../support/redis.js');
const { closeAll, keepStore } = require('../support/stores.js');
const { until } = require('../support/until.js');

let server;
let raw;
beforeAll(async () => {
  server = await startRedis();
  raw = await connectRaw(server.port);
});
afterEach(closeAll);
afterAll(async () => {
  await raw?.close();
  await server?.stop();
});

const allow = (user, password) =>
  raw.command('ACL', 'SETUSER', user, 'reset', 'on', `>${password}`, '~*', '+@all');

/** Returns the connections of stores, each with the user that it authenticated as. */
async function connections() {
  const list = String(await raw.command('CLIENT', 'LIST'));
  return list
    .split('\n')
    .filter((line) => line.includes('name=connect-redis-native:'))
    .map((line) => ({ id: /\bid=(\d+)/.exec(line)[1], user: /\buser=(\S+)/.exec(line)[1] }));
}

test("a streaming provider's new password is used on the open connection", async () => {
  const { createClient } = require('redis');
  await allow('ann', 'first');
  await allow('bob', 'second');
  const listeners = new Set();
  const client = createClient({
    socket: { host: '127.0.0.1', port: server.port },
    credentialsProvider: {
      type: 'streaming-credentials-provider',
      async subscribe(listener) {
        listeners.add(listener);
        return [{ username: 'ann', password: 'first' }, { dispose: () => listeners.delete(listener) }];
      },
    },
  });
  const store = keepStore(new RedisStore({ client }));
  await store.set('abc', { n: 1 });
  const [before] = await connections();
  expect(before.user).toBe('ann');

  for (const listener of listeners) listener.onNext({ username: 'bob', password: 'second' });

  await until(async () => (await connections())[0].user === 'bob');
  expect(await connections()).toEqual([{ id: before.id, user: 'bob' }]);
  expect(await store.get('abc')).toEqual({ n: 1 });
  await store.close();
  await until(async () => listeners.size === 0);
});

test('credentials that expire are requested again before they do, and used on the open connection', async () => {
  let asked = 0;
  const store = keepStore(
    new RedisStore({
      url: server.url,
      async credentials() {
        asked++;
        await allow(`user${asked}`, 'secret');
        return { username: `user${asked}`, password: 'secret', expiresAt: Date.now() + 1000 };
      },
    }),
  );
  await store.set('abc', { n: 1 });
  const [before] = await connections();
  expect(before.user).toBe('user1');
  await until(async () => (await connections())[0].user === 'user3');
  expect((await connections())[0].id).toBe(before.id);
});

test('a renewal that Redis rejects emits an error, and leaves the connection as it is', async () => {
  let asked = 0;
  await allow('ann', 'first');
  const store = keepStore(
    new RedisStore({
      url: server.url,
      credentials: () => ({
        username: 'ann',
        password: asked++ === 0 ? 'first' : 'wr0ng',
        expiresAt: Date.now() + 1000,
      }),
    }),
  );
  const emitted = new Promise((resolve) => store.on('error', resolve));
  await store.set('abc', { n: 1 });
  expect(await emitted).toMatchObject({
    code: 'ERR_CREDENTIALS',
    message: expect.stringMatching(/WRONGPASS/),
  });
  expect((await emitted).message).not.toContain('wr0ng');
  expect(await store.get('abc')).toEqual({ n: 1 });
});

test.each([
  ['in the past', () => Date.now() - 1000],
  ['in a millisecond', () => Date.now() + 1],
  ['never', () => Number.POSITIVE_INFINITY],
  ['the largest number', () => Number.MAX_VALUE],
  ['later than the clock can reach', () => 1.2e22],
  ['the last possible date', () => new Date(8.64e15)],
])(
  'the credentials function is called occasionally, or not again, when expiresAt is %s',
  async (_what, expiresAt) => {
    let asked = 0;
    await allow('ann', 'first');
    const begin = performance.now();
    const store = keepStore(
      new RedisStore({
        url: server.url,
        credentials() {
          asked++;
          return { username: 'ann', password: 'first', expiresAt: expiresAt() };
        },
      }),
    );
    await store.set('abc', { n: 1 });
    for (let times = 0; times < 10; times++) {
      expect(await store.get('abc')).toEqual({ n: 1 });
      await delay(100);
    }
    // Four times per second at most, after the first.
    expect(asked).toBeLessThanOrEqual(2 + (performance.now() - begin) / 250);
    expect(store.status).toBe('ready');
  },
);
