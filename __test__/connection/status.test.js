'use strict';

const { setTimeout: sleep } = require('node:timers/promises');
const { RedisStore } = require('../..');
const { count, serve } = require('../support/app.js');
const { startProxy } = require('../support/proxy.js');
const { connectRaw, startRedis } = require('../support/redis.js');
const { closeAll, keepStore } = require('../support/stores.js');
const { NEVER_MS, until } = require('../support/until.js');

/** After an outage of this length, in ms, requests run without sessions. */
const GRACE_MS = 1000;

let server;
beforeEach(async () => {
  server = await startRedis();
});
afterEach(async () => {
  await closeAll();
  await server?.stop();
});

const EVENTS = ['ready', 'reconnecting', 'error', 'disconnect', 'connect'];

/** Opens a store. Returns it with its events, and its status at each of them, in `seen`. */
function open(options) {
  const store = keepStore(
    new RedisStore({ url: server.url, commandTimeout: 500, connectTimeout: 500, ...options }),
  );
  const seen = [];
  const errors = [];
  for (const event of EVENTS)
    store.on(event, (error) => {
      seen.push(`${event} (${store.status})`);
      if (error) errors.push(error);
    });
  return { store, seen, errors };
}

const without = (seen, event) => seen.filter((text) => !text.startsWith(event));

test('`status` goes from connecting to ready, reconnecting, ready and closed', async () => {
  const { store, seen, errors } = open();
  expect(store.status).toBe('connecting');
  await until(() => store.status === 'ready');

  await server.kill();
  await until(() => store.status === 'reconnecting');
  await until(() => seen.includes('error (reconnecting)'));
  await server.start();
  await until(() => store.status === 'ready');
  await store.close();
  expect(store.status).toBe('closed');

  // How many errors there are depends on the machine.
  expect(without(seen, 'error')).toEqual(['ready (ready)', 'reconnecting (reconnecting)', 'ready (ready)']);
  for (const error of errors) {
    expect(error).toMatchObject({ code: 'ERR_REDIS_UNAVAILABLE' });
    expect(error.message).toContain(`127.0.0.1:${server.port}`);
  }
});

test('`status` is reconnecting after a server stopped answering on an idle connection', async () => {
  const network = await startProxy(server.port);
  try {
    const { store } = open({ url: network.url, commandTimeout: 2000 });
    await until(() => store.status === 'ready');
    network.silence();
    await until(() => store.status === 'reconnecting');
    await network.heal();
    await until(() => store.status === 'ready');
    await closeAll();
  } finally {
    await network.close();
  }
});

test('`status` is connecting until Redis is reachable for the first time', async () => {
  await server.kill();
  const { store, seen } = open();
  await until(() => seen.includes('error (connecting)'));
  expect(store.status).toBe('connecting');
  await server.start();
  await until(() => store.status === 'ready');
  expect(without(seen, 'error')).toEqual(['ready (ready)']);
});

test('`status` is read-only', () => {
  const { store } = open();
  expect(() => {
    store.status = 'closed';
  }).toThrow(TypeError);
});

test("an 'error' event without a listener is not thrown", async () => {
  await server.kill();
  const store = keepStore(new RedisStore({ url: server.url, commandTimeout: 500 }));
  // Attempts fail meanwhile; an error that is thrown would end this process.
  await expect(store.get('abc')).rejects.toMatchObject({ code: 'ERR_REDIS_UNAVAILABLE' });
  expect(store.status).toBe('connecting');
});

test('a closed store emits no more events', async () => {
  const { store, seen } = open({ onUnavailable: 'sessionless' });
  await until(() => store.status === 'ready');
  await store.close();
  const before = [...seen];
  await server.kill();
  await sleep(GRACE_MS + 300);
  expect(seen).toEqual(before);
  expect(store.status).toBe('closed');
});

describe("onUnavailable: 'sessionless'", () => {
  test("the store emits 'disconnect' after an outage of a second, and 'connect' when it ends", async () => {
    const { store, seen } = open({ onUnavailable: 'sessionless' });
    await until(() => store.status === 'ready');
    for (let times = 0; times < 2; times++) {
      const start = performance.now();
      await server.kill();
      await until(() => seen.filter((text) => text.startsWith('disconnect')).length > times);
      expect(performance.now() - start).toBeGreaterThan(GRACE_MS - 50);
      await server.start();
      await until(() => seen.filter((text) => text.startsWith('connect')).length > times);
    }
    const outage = [
      'reconnecting (reconnecting)',
      'disconnect (reconnecting)',
      'ready (ready)',
      'connect (ready)',
    ];
    const events = without(seen, 'error').slice(1);
    // The order of two events of one moment does not matter.
    expect([...events].sort()).toEqual([...outage, ...outage].sort());
  });

  test("the store emits no 'disconnect' for a moment without a connection", async () => {
    const { store, seen } = open({ onUnavailable: 'sessionless', commandTimeout: NEVER_MS });
    await until(() => store.status === 'ready');
    let lost;
    let outages = 0;
    store.on('reconnecting', () => {
      lost = performance.now();
    });
    // On a machine that takes so long to connect, the outage is longer than a moment.
    store.on('ready', () => {
      if (performance.now() - lost > GRACE_MS - 50) outages += 1;
    });
    const raw = await connectRaw(server.port);
    for (let times = 0; times < 5; times++) {
      await raw.command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
      await store.get('abc');
      await sleep(GRACE_MS / 4);
    }
    await raw.close();
    expect(seen.filter((text) => text.startsWith('reconnecting')).length).toBeGreaterThan(1);
    expect(seen.filter((text) => text.startsWith('disconnect')).length).toBeLessThanOrEqual(outages);
  });

  test("the store emits no 'disconnect' when operations fail on an open connection", async () => {
    const { store, seen } = open({ onUnavailable: 'sessionless', commandTimeout: NEVER_MS });
    const raw = await connectRaw(server.port);
    await raw.command('LPUSH', 'sess:list', 'x');
    const end = performance.now() + GRACE_MS + 300;
    while (performance.now() < end) {
      await expect(store.get('list')).rejects.toMatchObject({ reply: 'WRONGTYPE' });
      await sleep(20);
    }
    await raw.close();
    expect(seen).toEqual(['ready (ready)']);
  });

  test("by default, the store emits no 'disconnect' or 'connect'", async () => {
    const { store, seen } = open();
    await until(() => store.status === 'ready');
    await server.kill();
    await sleep(GRACE_MS + 300);
    expect(seen.filter((text) => /^(disconnect|connect) /.test(text))).toEqual([]);
  });

  test.each([17, 'none', true, {}])('the constructor rejects onUnavailable: %p', (onUnavailable) => {
    expect(() => new RedisStore({ url: server.url, onUnavailable })).toThrow(
      expect.objectContaining({
        code: 'ERR_INVALID_ARG_VALUE',
        message: expect.stringMatching(/"onUnavailable".*'error'.*'sessionless'/),
      }),
    );
  });
});

describe('requests of an Express app while Redis is unreachable', () => {
  let app;
  afterEach(() => app?.close());

  const routes = (express, middleware) => {
    express.use(middleware);
    express.get('/count', count);
    express.get('/has', (request, response) => response.json(request.session !== undefined));
  };

  test("requests run without a session during an outage, and with it again afterwards, with 'sessionless'", async () => {
    await server.stop();
    server = await startRedis({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] });
    const { store, seen } = open({ onUnavailable: 'sessionless', commandTimeout: NEVER_MS });
    app = await serve(store, {}, routes);
    const visitor = app.visitor();
    await visitor.get('/count');

    await server.kill();
    await until(() => seen.includes('disconnect (reconnecting)'));
    // No request waits until an operation's deadline.
    expect(await visitor.get('/has')).toMatchObject({ status: 200, body: false });

    await server.start();
    await until(async () => (await visitor.get('/has')).body === true);
    expect(await visitor.get('/count')).toMatchObject({ status: 200, body: 2 });
  });

  test("requests run without a session until Redis is reachable for the first time, with 'sessionless'", async () => {
    await server.kill();
    const { store } = open({ onUnavailable: 'sessionless' });
    app = await serve(store, {}, routes);
    const visitor = app.visitor();
    await until(async () => (await visitor.get('/has')).body === false);
    await server.start();
    await until(async () => (await visitor.get('/has')).body === true);
  });

  test('requests fail with the error by default', async () => {
    const { store } = open();
    app = await serve(store, {}, routes);
    const visitor = app.visitor();
    await visitor.get('/count');
    await server.kill();
    await sleep(GRACE_MS + 300);
    expect(await visitor.get('/count')).toMatchObject({
      status: 500,
      body: { code: 'ERR_REDIS_UNAVAILABLE' },
    });
  });
});
