'use strict';

const { setTimeout: sleep } = require('node:timers/promises');
const { RedisStore } = require('../..');
const { count, serve } = require('../support/app.js');
const { startProxy } = require('../support/proxy.js');
const { connectRaw, startRedis } = require('../support/redis.js');
const { closeAll, keepStore } = require('../support/stores.js');
const { NEVER_MS, until } = require('../support/until.js');

/** After this time away, in ms, requests run without sessions. */
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

/** A store, and its events with the status that it had then, in `seen`. */
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

test('the status goes from connecting by ready and reconnecting to ready again, and ends closed', async () => {
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

  // An error for each attempt in vain; how many there are is the machine's.
  expect(without(seen, 'error')).toEqual(['ready (ready)', 'reconnecting (reconnecting)', 'ready (ready)']);
  for (const error of errors) {
    expect(error).toMatchObject({ code: 'ERR_REDIS_UNAVAILABLE' });
    expect(error.message).toContain(`127.0.0.1:${server.port}`);
  }
});

test('a server that vanishes without a word is missed, though nobody asks it for anything', async () => {
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

test('a store whose Redis is not there at first is connecting, until it is', async () => {
  await server.kill();
  const { store, seen } = open();
  await until(() => seen.includes('error (connecting)'));
  expect(store.status).toBe('connecting');
  await server.start();
  await until(() => store.status === 'ready');
  expect(without(seen, 'error')).toEqual(['ready (ready)']);
});

test('the status is read-only', () => {
  const { store } = open();
  expect(() => {
    store.status = 'closed';
  }).toThrow(TypeError);
});

test('an error that nobody listens to is not thrown', async () => {
  await server.kill();
  const store = keepStore(new RedisStore({ url: server.url, commandTimeout: 500 }));
  // Attempts fail meanwhile; an error that is thrown would end this process.
  await expect(store.get('abc')).rejects.toMatchObject({ code: 'ERR_REDIS_UNAVAILABLE' });
  expect(store.status).toBe('connecting');
});

test('a store that is closed tells nothing any more', async () => {
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
  test('tells of an outage after a while, and always of its end', async () => {
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
    // Which of two events of one moment comes first does not matter.
    expect([...events].sort()).toEqual([...outage, ...outage].sort());
  });

  test('does not tell of a moment without a connection', async () => {
    const { store, seen } = open({ onUnavailable: 'sessionless', commandTimeout: NEVER_MS });
    await until(() => store.status === 'ready');
    let lost;
    let outages = 0;
    store.on('reconnecting', () => {
      lost = performance.now();
    });
    // Where the machine takes so long to connect, it is no moment.
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

  test('does not tell of operations that fail on a connection that serves', async () => {
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

  test('by default, nothing is told to express-session', async () => {
    const { store, seen } = open();
    await until(() => store.status === 'ready');
    await server.kill();
    await sleep(GRACE_MS + 300);
    expect(seen.filter((text) => /^(disconnect|connect) /.test(text))).toEqual([]);
  });

  test.each([17, 'none', true, {}])('another value is refused: %p', (onUnavailable) => {
    expect(() => new RedisStore({ url: server.url, onUnavailable })).toThrow(
      expect.objectContaining({
        code: 'ERR_INVALID_ARG_VALUE',
        message: expect.stringMatching(/"onUnavailable".*'error'.*'sessionless'/),
      }),
    );
  });
});

describe('requests of an Express app while Redis is away', () => {
  let app;
  afterEach(() => app?.close());

  const routes = (express, middleware) => {
    express.use(middleware);
    express.get('/count', count);
    express.get('/has', (request, response) => response.json(request.session !== undefined));
  };

  test('run without a session, by choice, and have it back with Redis', async () => {
    await server.stop();
    server = await startRedis({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] });
    const { store, seen } = open({ onUnavailable: 'sessionless', commandTimeout: NEVER_MS });
    app = await serve(store, {}, routes);
    const visitor = app.visitor();
    await visitor.get('/count');

    await server.kill();
    await until(() => seen.includes('disconnect (reconnecting)'));
    // No request waits for an operation's deadline.
    expect(await visitor.get('/has')).toMatchObject({ status: 200, body: false });

    await server.start();
    await until(async () => (await visitor.get('/has')).body === true);
    expect(await visitor.get('/count')).toMatchObject({ status: 200, body: 2 });
  });

  test('that was never there run without a session, by choice', async () => {
    await server.kill();
    const { store } = open({ onUnavailable: 'sessionless' });
    app = await serve(store, {}, routes);
    const visitor = app.visitor();
    await until(async () => (await visitor.get('/has')).body === false);
    await server.start();
    await until(async () => (await visitor.get('/has')).body === true);
  });

  test('get the error, by default', async () => {
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
