'use strict';

const { once } = require('node:events');
const { inspect } = require('node:util');
const Mock = require('ioredis-mock');
const redis6 = require('redis');
const { createClient: createClient4 } = require('redis4');
const { RedisStore } = require('../..');
const { startRedis, useRedis } = require('../support/redis.js');
const { closeAll, keepStore, openClient } = require('../support/stores.js');
const { failuresOfGetsInTicks } = require('../support/ticks.js');
const { NEVER_MS, until } = require('../support/until.js');

const SHORT_MS = 600;

const redis = useRedis();
afterEach(closeAll);

const open = (client, options) => keepStore(new RedisStore({ client, ...options }));

async function failure(promise) {
  return promise.then(
    () => {
      throw new Error('It did not fail.');
    },
    (error) => error,
  );
}

describe('choice of the transport', () => {
  test('`transport` returns the transport of the store', async () => {
    const client = await openClient('ioredis6', redis.port);
    expect(open(client).transport).toBe('native');
    expect(open(client, { transport: 'client' }).transport).toBe('client');
    expect(keepStore(new RedisStore({ url: redis.server.url })).transport).toBe('native');
    expect(open(new Mock()).transport).toBe('client');
  });

  test.each([
    [
      'native with a client whose settings cannot be carried over',
      () => ({ client: new Mock(), transport: 'native' }),
      /a mock has no server/,
    ],
    ['client without a client', () => ({ transport: 'client' }), /must be 'native' without a "client"/],
    [
      'a cache with a client that receives no invalidations',
      () => ({ client: new Mock(), cache: true }),
      /^The "cache" and "client" options cannot be combined: the client itself.*\(a mock has no server/,
    ],
    ['an unknown word', () => ({ transport: 'pigeon' }), /'native' or 'client'; received 'pigeon'/],
    ['a client that runs no command', () => ({ client: { get() {}, set() {} } }), /sendCommand\(args\)/],
  ])('the constructor rejects an invalid transport with the reason: %s', (_what, options, reason) => {
    expect(() => new RedisStore(options())).toThrow(
      expect.objectContaining({ name: 'TypeError', message: expect.stringMatching(reason) }),
    );
  });
});

describe('ioredis-mock', () => {
  test.each([
    ['without a key prefix', {}],
    ['with a key prefix', { keyPrefix: 'app:' }],
  ])('a store on ioredis-mock works %s', async (_how, options) => {
    const mock = new Mock(options);
    await mock.flushall();
    const store = open(mock);
    await store.set('abc', { text: 'aé☃😀' });
    expect(await mock.get('sess:abc')).toBe(JSON.stringify({ text: 'aé☃😀' }));
    expect(await store.get('abc')).toEqual({ text: 'aé☃😀' });
    expect(await store.get('nobody')).toBeNull();
    expect(await store.touch('abc', { cookie: { expires: new Date(Date.now() + 5000) } })).toBeNull();
    expect(await mock.pttl('sess:abc')).toBeLessThanOrEqual(5000);
    expect(await store.ids()).toEqual(['abc']);
    expect(await store.all()).toMatchObject([{ id: 'abc' }]);
    await store.destroy('abc');
    expect(await store.length()).toBe(0);

    // Two requests that load a session before either saves it.
    const careful = open(mock, { onConflict: 'reject' });
    await careful.set('abc', { user: 'ann' });
    const [one, other] = [await careful.get('abc'), await careful.get('abc')];
    await careful.set('abc', Object.assign(one, { n: 1 }));
    await expect(careful.set('abc', Object.assign(other, { n: 2 }))).rejects.toMatchObject({
      code: 'ERR_SESSION_CONFLICT',
    });
    expect(await store.get('abc')).toEqual({ user: 'ann', n: 1 });
  });
});

test('a store works on redis 4 in legacyMode, which answers commands by callbacks', async () => {
  const client = createClient4({ url: redis.server.url, legacyMode: true });
  client.on('error', () => {});
  await client.connect();
  try {
    const store = open(client, { transport: 'client' });
    await store.set('abc', { n: 1 });
    expect(await store.get('abc')).toEqual({ n: 1 });
    expect(await store.ids()).toEqual(['abc']);
    expect(await store.destroy('abc')).toBeNull();
    expect(await store.length()).toBe(0);
  } finally {
    await client.disconnect();
  }
});

describe('a wrapper written by the app', () => {
  const wrappers = {
    call: (client) => ({ call: (...words) => client.call(...words) }),
    sendCommand: (client) => ({ sendCommand: (words) => client.call(...words) }),
    customCommand: (client) => ({ customCommand: (words) => client.call(...words) }),
  };

  test.each(Object.keys(wrappers))('a store works on a wrapper with %s', async (name) => {
    const store = open(wrappers[name](await openClient('ioredis6', redis.port)));
    expect(store.transport).toBe('client');
    await store.set('abc', { n: 1 });
    expect(await store.get('abc')).toEqual({ n: 1 });
    expect(await store.ids()).toEqual(['abc']);
    await store.clear();
    expect(await store.length()).toBe(0);
  });

  test('a store works on a wrapper that returns Buffers, integers as strings, or no promise', async () => {
    const client = await openClient('ioredis6', redis.port);
    const asText = (reply) => (typeof reply === 'number' ? String(reply) : reply);
    const store = open({ call: (...words) => client.callBuffer(...words).then(asText) });
    await store.set('abc', { text: 'é😀' });
    expect(await store.get('abc')).toEqual({ text: 'é😀' });
    expect(await store.destroy('abc')).toBeNull();

    expect(await open({ call: () => '{"n":1}' }).get('abc')).toEqual({ n: 1 });
  });

  test('a store works on a wrapper whose listeners cannot be removed', async () => {
    const client = await openClient('ioredis6', redis.port);
    const ends = [];
    const on = (event, listener) => event === 'end' && ends.push(listener);
    const wrapper = { call: (...words) => client.call(...words), on };
    for (const n of [1, 2]) {
      const store = open(wrapper);
      await store.set('abc', { n });
      await store.close();
    }
    const store = open(wrapper);
    expect(ends).toHaveLength(1);
    for (const end of ends) end();
    expect(store.status).toBe('closed');
  });
});

describe('errors', () => {
  const SECRET = 'hunter2-hunter2';

  test("an operation on a client rejects with the code of the server's error", async () => {
    await redis.command('RPUSH', 'sess:list', 'x');
    for (const kind of ['redis6', 'ioredis6']) {
      const error = await failure(
        open(await openClient(kind, redis.port), { transport: 'client' }).get('list'),
      );
      expect(error).toMatchObject({ code: 'ERR_REDIS_REPLY', reply: 'WRONGTYPE' });
      expect(error.message).toMatch(
        /^get failed: the server replied WRONGTYPE: .* \(Redis through the app's (redis|ioredis) client\)$/,
      );
    }
  });

  test.each([
    [
      'an invalid argument',
      (words) => new TypeError(`Invalid argument: ${words.join(' ')}`),
      'ERR_REDIS_UNAVAILABLE',
    ],
    ['a reply', (words) => new Error(`ERR unknown command: ${words.join(' ')}`), 'ERR_REDIS_REPLY'],
    ['a loss', (words) => new Error(`no connection for ${words.join(' ')}`), 'ERR_REDIS_UNAVAILABLE'],
  ])('an error that quotes the command is not shown: %s', async (_what, make, code) => {
    const call = async (...words) => {
      throw Object.assign(make(words), { command: { args: words } });
    };
    const error = await failure(open({ call }, { commandTimeout: SHORT_MS }).set(`id-${SECRET}`, { SECRET }));
    expect(error.code).toBe(code);
    expect(inspect(error, { depth: 9 })).not.toContain(SECRET);
  });

  test('an operation rejects with ERR_REDIS_UNAVAILABLE when the client throws synchronously', async () => {
    const call = () => {
      throw new RangeError('too much');
    };
    const error = await failure(open({ call }).get('abc'));
    expect(error).toMatchObject({
      code: 'ERR_REDIS_UNAVAILABLE',
      message: expect.stringContaining('too much'),
    });
  });
});

describe('deadlines', () => {
  test('an operation rejects with ERR_REDIS_TIMEOUT when the client never answers', async () => {
    const store = open({ call: () => new Promise(() => {}) }, { commandTimeout: SHORT_MS });
    const start = Date.now();
    const error = await failure(store.get('abc'));
    expect(error).toMatchObject({
      code: 'ERR_REDIS_TIMEOUT',
      message: `get failed: no reply within ${SHORT_MS} ms (Redis through the app's client)`,
    });
    expect(Date.now() - start).toBeGreaterThanOrEqual(SHORT_MS - 1);
  });

  test.each(['redis5', 'ioredis6'])(
    '%s: an operation rejects with ERR_REDIS_TIMEOUT when its server hangs, and later ones succeed',
    async (kind) => {
      const own = await startRedis();
      try {
        const store = open(await openClient(kind, own.port), { transport: 'client', commandTimeout: 1500 });
        await store.set('abc', { n: 1 });
        own.pause();
        expect(await failure(store.get('abc'))).toMatchObject({ code: 'ERR_REDIS_TIMEOUT' });
        expect(store.status).toBe('reconnecting');
        own.resume();
        await until(
          () =>
            store.status === 'ready' ||
            store.get('abc').then(
              () => false,
              () => false,
            ),
        );
        expect(await store.get('abc')).toEqual({ n: 1 });
        await closeAll();
      } finally {
        await own.stop();
      }
    },
  );

  test('an operation whose deadline passed before the client connected is never sent', async () => {
    const client = redis6.createClient({ url: redis.server.url });
    const store = open(client, { transport: 'client', commandTimeout: SHORT_MS, maxQueue: 1 });
    const [waited, refused] = await Promise.allSettled([store.set('abc', { n: 1 }), store.get('abc')]);
    expect(waited.reason).toMatchObject({
      code: 'ERR_REDIS_UNAVAILABLE',
      message: expect.stringContaining('it is not connected'),
    });
    expect(refused.reason.code).toBe('ERR_REDIS_QUEUE_FULL');

    await client.connect();
    await until(() =>
      store.get('abc').then(
        (session) => session === null,
        () => false,
      ),
    );
    await client.close();
  });

  test('maxQueue bounds the operations that wait, however many commands they consist of', async () => {
    const client = redis6.createClient({ url: redis.server.url });
    const store = open(client, { transport: 'client', commandTimeout: SHORT_MS, maxQueue: 20 });
    expect(await failuresOfGetsInTicks(store)).toEqual({
      ERR_REDIS_QUEUE_FULL: 30,
      ERR_REDIS_UNAVAILABLE: 20,
    });
  });
});

describe('connection losses', () => {
  test('commands that a connection loss interrupted are sent again, in order with later writes', async () => {
    const client = await openClient('ioredis6', redis.port);
    let losses = 1;
    const sent = [];
    const call = (...words) => {
      sent.push(words[2] ?? words[0]);
      if (losses-- > 0) return Promise.reject(new Error('Connection is closed.'));
      return client.call(...words);
    };
    const store = open({ call });
    await Promise.all([1, 2, 3].map((n) => store.set('abc', { n })));
    expect(await store.get('abc')).toEqual({ n: 3 });
    const texts = [1, 2, 3].map((n) => JSON.stringify({ n }));
    expect(sent.slice(0, 6)).toEqual([...texts, ...texts]);
  });

  test("a connection loss is recognised by the codes of Node's errors, some of which have no message", async () => {
    const client = await openClient('ioredis6', redis.port);
    // As Node reports it for a name with several addresses.
    const refused = Object.assign(new AggregateError([new Error('connect ECONNREFUSED ::1:1')]), {
      code: 'ECONNREFUSED',
    });
    let losses = 1;
    const call = (...words) => (losses-- > 0 ? Promise.reject(refused) : client.call(...words));
    expect(await open({ call }).set('abc', { n: 1 })).toBeNull();
  });

  test('a connection loss of a client that reports none is noticed by failed commands', async () => {
    const own = await startRedis();
    try {
      const client = await openClient('ioredis6', own.port, { enableOfflineQueue: false });
      const call = (...words) => client.call(...words);
      const store = open({ call }, { onUnavailable: 'sessionless', commandTimeout: 20_000 });
      const events = [];
      for (const event of ['ready', 'reconnecting', 'disconnect', 'connect'])
        store.on(event, () => events.push(event));
      await store.set('abc', { n: 1 });
      await own.kill();
      const answers = Promise.all([2, 3].map((n) => store.set('abc', { n })));
      await until(() => events.includes('disconnect'));
      expect(store.status).toBe('reconnecting');
      await own.start();
      await answers;
      expect(store.status).toBe('ready');
      expect(await store.get('abc')).toEqual({ n: 3 });
      expect(events).toEqual(['ready', 'reconnecting', 'disconnect', 'connect', 'ready']);
      await closeAll();
    } finally {
      await own.stop();
    }
  });

  test("a store on a client emits 'reconnecting' and 'ready' when its server restarts", async () => {
    const own = await startRedis();
    try {
      for (const kind of ['redis6', 'ioredis6']) {
        const store = open(await openClient(kind, own.port), { transport: 'client' });
        const events = [];
        for (const event of ['ready', 'reconnecting']) store.on(event, () => events.push(event));
        await store.set('abc', { n: 1 });
        await own.kill();
        await until(() => store.status === 'reconnecting');
        const answer = store.set('abc', { n: 2 });
        await own.start();
        await answer;
        expect(await store.get('abc')).toEqual({ n: 2 });
        expect(events).toEqual(['ready', 'reconnecting', 'ready']);
      }
      await closeAll();
    } finally {
      await own.stop();
    }
  });
});

describe('closing', () => {
  test('operations in flight reject and the store closes when its client is closed', async () => {
    const own = await startRedis();
    try {
      const client = await openClient('ioredis6', own.port);
      const store = open(client, { transport: 'client', commandTimeout: NEVER_MS });
      await store.set('abc', { n: 1 });
      own.pause();
      const waiting = failure(store.get('abc'));
      client.disconnect();
      const error = await waiting;
      expect(error).toMatchObject({
        code: 'ERR_REDIS_UNAVAILABLE',
        message: expect.stringContaining('the app has closed it'),
      });
      expect(store.status).toBe('closed');
    } finally {
      await own.stop();
    }
  });

  test('a client that does not report its end is noticed with the next operation', async () => {
    const pool = await redis6.createClientPool({ url: redis.server.url }).connect();
    const store = open(pool);
    await store.set('abc', { n: 1 });
    await pool.close();
    const error = await failure(store.get('abc'));
    expect(error).toMatchObject({ code: 'ERR_REDIS_UNAVAILABLE' });
    expect(error.message).toMatch(
      /^get failed: no connection \(Redis through the app's redis client; last error: the app has closed it/,
    );
  });

  test('operations reject at once when the client was closed before the store was created, until it connects', async () => {
    const client = await openClient('ioredis6', redis.port);
    const ended = once(client, 'end');
    client.disconnect();
    await ended;
    const store = open(client, { transport: 'client' });
    expect(await failure(store.get('abc'))).toMatchObject({
      code: 'ERR_REDIS_UNAVAILABLE',
      message: expect.stringContaining('the app has closed it'),
    });

    await client.connect();
    await until(() => store.status === 'ready');
    expect(await store.get('abc')).toBeNull();
  });

  test('`close` waits for operations in flight and leaves the client open, with its former listeners', async () => {
    const client = await openClient('ioredis6', redis.port);
    const before = client.eventNames().map((event) => [event, client.listenerCount(event)]);
    const stores = Array.from({ length: 20 }, () => open(client, { transport: 'client' }));
    const answers = stores.map((store, n) => store.set(`id-${n}`, { n }));
    await Promise.all(stores.map((store) => store.close()));
    await Promise.all(answers);
    expect(await client.dbsize()).toBe(20);
    const after = () => client.eventNames().map((event) => [event, client.listenerCount(event)]);
    await until(() => inspect(after()) === inspect(before));
  });
});
