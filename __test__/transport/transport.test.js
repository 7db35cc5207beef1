'use strict';

const { once } = require('node:events');
const { inspect } = require('node:util');
const Mock = require('ioredis-mock');
const redis6 = require('redis');
const { createClient: createClient4 } = require('redis4');
const { RedisStore } = require('../..');
const { connectRaw, startRedis } = require('../support/redis.js');
const { closeAll, keepStore, openClient } = require('../support/stores.js');
const { failuresOfGetsInTicks } = require('../support/ticks.js');
const { until } = require('../support/until.js');

const SHORT_MS = 600;

let server;
let raw;
beforeAll(async () => {
  server = await startRedis();
  raw = await connectRaw(server.port);
});
beforeEach(() => raw.command('FLUSHALL'));
afterEach(closeAll);
afterAll(async () => {
  await raw?.close();
  await server?.stop();
});

const open = (client, options) => keepStore(new RedisStore({ client, ...options }));

async function failure(promise) {
  return promise.then(
    () => {
      throw new Error('It did not fail.');
    },
    (error) => error,
  );
}

describe('which transport', () => {
  test('the store says it', async () => {
    const client = await openClient('ioredis6', server.port);
    expect(open(client).transport).toBe('native');
    expect(open(client, { transport: 'client' }).transport).toBe('client');
    expect(keepStore(new RedisStore({ url: server.url })).transport).toBe('native');
    expect(open(new Mock()).transport).toBe('client');
  });

  test.each([
    [
      'native, for a client whose settings stay with it',
      () => ({ client: new Mock(), transport: 'native' }),
      /a mock has no server/,
    ],
    ['client, without one', () => ({ transport: 'client' }), /must be 'native' without a "client"/],
    [
      'a cache, of which a client is not told what changes',
      () => ({ client: new Mock(), cache: true }),
      /^The "cache" and "client" options cannot be combined: the client itself.*\(a mock has no server/,
    ],
    ['anything else', () => ({ transport: 'pigeon' }), /'native' or 'client'; received 'pigeon'/],
    ['a client that runs no command', () => ({ client: { get() {}, set() {} } }), /sendCommand\(args\)/],
  ])('%s: is refused with the reason', (_what, options, reason) => {
    expect(() => new RedisStore(options())).toThrow(
      expect.objectContaining({ name: 'TypeError', message: expect.stringMatching(reason) }),
    );
  });
});

describe('ioredis-mock', () => {
  test.each([
    ['without a key prefix', {}],
    ['with one', { keyPrefix: 'app:' }],
  ])('%s', async (_how, options) => {
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

test('redis 4 in its legacyMode, whose commands are answered by callbacks', async () => {
  const client = createClient4({ url: server.url, legacyMode: true });
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

describe('a wrapper of the app', () => {
  const wrappers = {
    call: (client) => ({ call: (...words) => client.call(...words) }),
    sendCommand: (client) => ({ sendCommand: (words) => client.call(...words) }),
    customCommand: (client) => ({ customCommand: (words) => client.call(...words) }),
  };

  test.each(Object.keys(wrappers))('with %s', async (name) => {
    const store = open(wrappers[name](await openClient('ioredis6', server.port)));
    expect(store.transport).toBe('client');
    await store.set('abc', { n: 1 });
    expect(await store.get('abc')).toEqual({ n: 1 });
    expect(await store.ids()).toEqual(['abc']);
    await store.clear();
    expect(await store.length()).toBe(0);
  });

  test('that gives Buffers, integers as strings, or no promise', async () => {
    const client = await openClient('ioredis6', server.port);
    const asText = (reply) => (typeof reply === 'number' ? String(reply) : reply);
    const store = open({ call: (...words) => client.callBuffer(...words).then(asText) });
    await store.set('abc', { text: 'é😀' });
    expect(await store.get('abc')).toEqual({ text: 'é😀' });
    expect(await store.destroy('abc')).toBeNull();

    expect(await open({ call: () => '{"n":1}' }).get('abc')).toEqual({ n: 1 });
  });

  test('whose listeners cannot be taken back', async () => {
    const client = await openClient('ioredis6', server.port);
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

  test('of the server have its word', async () => {
    await raw.command('RPUSH', 'sess:list', 'x');
    for (const kind of ['redis6', 'ioredis6']) {
      const error = await failure(
        open(await openClient(kind, server.port), { transport: 'client' }).get('list'),
      );
      expect(error).toMatchObject({ code: 'ERR_REDIS_REPLY', reply: 'WRONGTYPE' });
      expect(error.message).toMatch(
        /^get: Redis through the app's (redis|ioredis) client answered WRONGTYPE: /,
      );
    }
  });

  test.each([
    ['a mistake', (words) => new TypeError(`Invalid argument: ${words.join(' ')}`), 'ERR_REDIS_UNAVAILABLE'],
    ['a reply', (words) => new Error(`ERR unknown command: ${words.join(' ')}`), 'ERR_REDIS_REPLY'],
    ['a loss', (words) => new Error(`no connection for ${words.join(' ')}`), 'ERR_REDIS_UNAVAILABLE'],
  ])('that quote the command do not show it: %s', async (_what, make, code) => {
    const call = async (...words) => {
      throw Object.assign(make(words), { command: { args: words } });
    };
    const error = await failure(open({ call }, { commandTimeout: SHORT_MS }).set(`id-${SECRET}`, { SECRET }));
    expect(error.code).toBe(code);
    expect(inspect(error, { depth: 9 })).not.toContain(SECRET);
  });

  test('that a client throws at once are its failures, too', async () => {
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
  test('a client that never answers', async () => {
    const store = open({ call: () => new Promise(() => {}) }, { commandTimeout: SHORT_MS });
    const start = Date.now();
    const error = await failure(store.get('abc'));
    expect(error).toMatchObject({
      code: 'ERR_REDIS_TIMEOUT',
      message: `get: Redis through the app's client did not answer within ${SHORT_MS} ms`,
    });
    expect(Date.now() - start).toBeGreaterThanOrEqual(SHORT_MS - 1);
  });

  test.each(['redis5', 'ioredis6'])(
    '%s, of a server that hangs, and serves again after that',
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

  test('what waited for a client in vain is never sent', async () => {
    const client = redis6.createClient({ url: server.url });
    const store = open(client, { transport: 'client', commandTimeout: SHORT_MS, maxQueue: 1 });
    const [waited, refused] = await Promise.allSettled([store.set('abc', { n: 1 }), store.get('abc')]);
    expect(waited.reason).toMatchObject({
      code: 'ERR_REDIS_UNAVAILABLE',
      message: expect.stringContaining('it is not connected'),
    });
    expect(refused.reason.code).toBe('ERR_REDIS_QUEUE_FULL');

    await client.connect();
    expect(await store.get('abc')).toBeNull();
    await client.close();
  });

  test('maxQueue bounds the operations that wait, however many commands they are', async () => {
    const client = redis6.createClient({ url: server.url });
    const store = open(client, { transport: 'client', commandTimeout: SHORT_MS, maxQueue: 20 });
    expect(await failuresOfGetsInTicks(store)).toEqual({
      ERR_REDIS_QUEUE_FULL: 30,
      ERR_REDIS_UNAVAILABLE: 20,
    });
  });
});

describe('losses', () => {
  test('what a lost connection cut off is sent again, and later writes with it', async () => {
    const client = await openClient('ioredis6', server.port);
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

  test("are known by the codes of Node's errors, some of which have no message", async () => {
    const client = await openClient('ioredis6', server.port);
    // As Node has it for a name with several addresses.
    const refused = Object.assign(new AggregateError([new Error('connect ECONNREFUSED ::1:1')]), {
      code: 'ECONNREFUSED',
    });
    let losses = 1;
    const call = (...words) => (losses-- > 0 ? Promise.reject(refused) : client.call(...words));
    expect(await open({ call }).set('abc', { n: 1 })).toBeNull();
  });

  test('of a client that tells nothing of them are noticed by what fails', async () => {
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

  test('a server that comes back', async () => {
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

describe('the end', () => {
  test('of the client fails what is under way, and closes the store', async () => {
    const own = await startRedis();
    try {
      const client = await openClient('ioredis6', own.port);
      const store = open(client, { transport: 'client', commandTimeout: 20_000 });
      await store.set('abc', { n: 1 });
      own.pause();
      const waiting = failure(store.get('abc'));
      const start = Date.now();
      client.disconnect();
      const error = await waiting;
      expect(error).toMatchObject({
        code: 'ERR_REDIS_UNAVAILABLE',
        message: expect.stringContaining('the app has closed it'),
      });
      // ioredis waits 2 seconds for the server.
      expect(Date.now() - start).toBeLessThan(10_000);
      expect(store.status).toBe('closed');
    } finally {
      await own.stop();
    }
  });

  test('of a client that does not tell is noticed with the next operation', async () => {
    const pool = await redis6.createClientPool({ url: server.url }).connect();
    const store = open(pool);
    await store.set('abc', { n: 1 });
    await pool.close();
    const error = await failure(store.get('abc'));
    expect(error).toMatchObject({ code: 'ERR_REDIS_UNAVAILABLE' });
    expect(error.message).toMatch(
      /^get: no connection to Redis through the app's redis client: the app has closed it/,
    );
  });

  test('of a client before the store is made is said at once, and taken back when it connects', async () => {
    const client = await openClient('ioredis6', server.port);
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

  test('of the store comes after what it was given, and leaves the client as it was', async () => {
    const client = await openClient('ioredis6', server.port);
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
