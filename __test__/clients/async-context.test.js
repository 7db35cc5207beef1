'use strict';

const { AsyncLocalStorage } = require('node:async_hooks');
const { RedisStore } = require('../..');
const { startRedis } = require('../support/redis.js');
const { closeAll, keepStore, openClient } = require('../support/stores.js');

// Tracing libraries attribute a command to the request whose async context it is sent in.

const context = new AsyncLocalStorage();
let server;
beforeAll(async () => {
  server = await startRedis();
});
afterEach(closeAll);
afterAll(() => server?.stop());

/** Opens a store whose commands run on a client. Returns it with the contexts of the commands by key. */
async function openTraced() {
  const client = await openClient('redis6', server.port);
  const seen = [];
  const sendCommand = (words) => {
    seen.push([words[0], words[1], context.getStore()]);
    return client.sendCommand(words);
  };
  return { store: keepStore(new RedisStore({ client: { sendCommand }, prefix: '' })), seen };
}

const operations = {
  get: (store, id) => store.get(id),
  set: (store, id) => store.set(id, { id }),
  touch: (store, id) => store.touch(id, { id }),
  destroy: (store, id) => store.destroy(id),
};

test.each(Object.keys(operations))(
  'each command of `%s` on a client is sent in the async context of its operation',
  async (name) => {
    const { store, seen } = await openTraced();
    const ids = ['a', 'b', 'c'];
    // In one tick, and so in one batch.
    await Promise.all(ids.map((id) => context.run(`request ${id}`, () => operations[name](store, id))));
    expect(seen.length).toBeGreaterThanOrEqual(ids.length);
    for (const [, key, store] of seen) expect(store).toBe(`request ${key}`);
  },
);

test('the callbacks of operations on a client run in the async context of their calls', async () => {
  const { store } = await openTraced();
  const seen = await Promise.all(
    ['a', 'b'].map((id) =>
      context.run(id, () => new Promise((resolve) => store.get(id, () => resolve(context.getStore())))),
    ),
  );
  expect(seen).toEqual(['a', 'b']);
});
