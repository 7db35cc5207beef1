'use strict';

const { createClient } = require('redis');
const { RedisStore } = require('../..');
const { startRedis } = require('../support/redis.js');
const { closeAll, keepStore } = require('../support/stores.js');
const { NEVER_MS } = require('../support/until.js');

// Credentials providers that do not behave as they should.

let server;
const unhandled = [];
const onUnhandled = (reason) => unhandled.push(reason);
beforeAll(async () => {
  server = await startRedis();
  process.on('unhandledRejection', onUnhandled);
});
afterEach(closeAll);
afterAll(async () => {
  process.off('unhandledRejection', onUnhandled);
  await server?.stop();
});

const fail = () => {
  throw new Error('the provider is broken');
};
const GOOD = { password: 'secret' };

function open(provider) {
  const credentialsProvider = { type: 'streaming-credentials-provider', ...provider };
  const client = createClient({
    socket: { host: '127.0.0.1', port: server.port },
    credentialsProvider,
  });
  client.on('error', () => {});
  const store = new RedisStore({ client, commandTimeout: NEVER_MS, connectTimeout: 300 });
  return keepStore(store);
}

/** Waits until rejections without a handler have been reported. */
const turns = async () => {
  for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate);
};

const broken = {
  'a subscribe that throws': { subscribe: fail },
  'a subscribe that rejects': { subscribe: async () => fail() },
  'a subscribe that returns undefined': { subscribe: () => undefined },
  'a subscribe whose promise resolves to undefined': { subscribe: async () => undefined },
  'a subscribe whose promise resolves to no array': { subscribe: async () => 5 },
  'a subscribe that never settles': { subscribe: () => new Promise(() => {}) },
  'no subscribe': {},
};

test.each(Object.keys(broken))(
  'operations reject with ERR_CREDENTIALS when the provider has %s, and `close` resolves',
  async (name) => {
    const store = open(broken[name]);
    await expect(store.get('abc')).rejects.toMatchObject({ code: 'ERR_CREDENTIALS' });
    await store.close();
    await turns();
    expect(unhandled).toEqual([]);
  },
);

const subscriptions = {
  'a dispose that throws': { dispose: fail },
  'a dispose that rejects': { dispose: async () => fail() },
  'no dispose': {},
  'no subscription': undefined,
};

test.each(Object.keys(subscriptions))(
  'the store works when the provider has %s, and `close` resolves',
  async (name) => {
    // Redis without a password ignores an empty one.
    const store = open({ subscribe: async () => [{ username: '', password: '' }, subscriptions[name]] });
    expect(await store.get('abc')).toBeNull();
    await store.close();
    await turns();
    expect(unhandled).toEqual([]);
  },
);

test('a subscription that begins after `close` is disposed of', async () => {
  let begin;
  let disposed = 0;
  const store = open({
    subscribe: () =>
      new Promise((resolve) => {
        begin = () => resolve([GOOD, { dispose: () => disposed++ }]);
      }),
  });
  await store.close();
  begin();
  await turns();
  expect(disposed).toBeGreaterThan(0);
});
