'use strict';

const { AsyncLocalStorage } = require('node:async_hooks');
const { subscribe, tracingChannel, unsubscribe } = require('node:diagnostics_channel');
const { once } = require('node:events');
const { createServer } = require('node:net');
const { RedisStore } = require('../..');
const { ErrorLimit } = require('../../lib/observability/error-limit.js');
const { sessionHash } = require('../../lib/observability/session-hash.js');
const { startCluster } = require('../support/cluster.js');
const { askOnce, startRedis } = require('../support/redis.js');
const { startSentinel } = require('../support/sentinel.js');
const { closeAll, keepStore, openClient } = require('../support/stores.js');
const { HANG_MS, until } = require('../support/until.js');

const LIMIT_MS = 240_000;
const NAME = 'connect-redis-native';
const ID = 'an-id';
const SESSION = { cookie: {}, value: 1 };

let cleanups = [];
afterEach(async () => {
  await closeAll();
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  cleanups = [];
});

async function keep(started) {
  const it = await started;
  cleanups.push(() => it.stop());
  return it;
}

/** Returns the messages that a channel publishes from now on. */
function messagesOf(channel) {
  const messages = [];
  const listener = (message) => messages.push(message);
  subscribe(`${NAME}:${channel}`, listener);
  cleanups.push(() => unsubscribe(`${NAME}:${channel}`, listener));
  return messages;
}

/** Records the events of the tracing channel of attempts, each with a copy of its context, and `record()`. */
function traceConnects(record = () => undefined) {
  const events = [];
  const handlers = Object.fromEntries(
    ['start', 'end', 'asyncStart', 'asyncEnd', 'error'].map((event) => [
      event,
      (context) => events.push({ event, context, facts: { ...context }, recorded: record() }),
    ]),
  );
  const channel = tracingChannel(`${NAME}:connect`);
  channel.subscribe(handlers);
  cleanups.push(() => channel.unsubscribe(handlers));
  return events;
}

function open(options) {
  const store = keepStore(new RedisStore({ commandTimeout: HANG_MS, ...options }));
  const errors = [];
  store.on('error', (error) => errors.push(error));
  return { store, errors };
}

const SUCCEEDED = ['start', 'end', 'asyncStart', 'asyncEnd'];
const FAILED = ['start', 'end', 'error', 'asyncStart', 'asyncEnd'];

test('each attempt to connect is traced, the first ones in the async context in which the store was created', async () => {
  const server = await keep(startRedis());
  await server.kill();
  const context = new AsyncLocalStorage();
  const events = traceConnects(() => context.getStore());
  const { store } = context.run('of the store', () => open({ url: `${server.url}/2` }));
  await until(() => events.some(({ facts }) => facts.attempt === 2));
  await server.start();
  await context.run('of the request', () => store.set(ID, SESSION));

  const contexts = [...new Set(events.map((event) => event.context))];
  for (const [index, attempt] of contexts.entries()) {
    const own = events.filter((event) => event.context === attempt);
    const isLast = index === contexts.length - 1;
    expect(own.map(({ event }) => event)).toEqual(isLast ? SUCCEEDED : FAILED);
    expect(attempt).toEqual({
      serverAddress: '127.0.0.1',
      serverPort: server.port,
      database: 2,
      attempt: index + 1,
      transport: 'native',
      ...(isLast ? {} : { error: expect.any(Error) }),
    });
    if (!isLast) {
      expect(attempt.error.code).toBe('ERR_REDIS_UNAVAILABLE');
      expect(attempt.error.message).toContain('ECONNREFUSED');
    }
  }
  expect(new Set(events.map(({ recorded }) => recorded))).toEqual(new Set(['of the store']));

  // The context of a request that has created the store ends some time.
  events.length = 0;
  await server.kill();
  await server.start();
  await context.run('of the request', () => store.set(ID, SESSION));
  expect(events.at(-1)).toMatchObject({ event: 'asyncEnd', recorded: undefined });
});

test('an attempt that the server rejects is traced with its reply, without the password', async () => {
  const server = await keep(startRedis({ args: ['--requirepass', 'hunter2-of-the-server'] }));
  const events = traceConnects();
  open({ url: `redis://:hunter2-wrong@127.0.0.1:${server.port}` });
  await until(() => events.some(({ event }) => event === 'asyncEnd'));
  const [{ facts }] = events.filter(({ event }) => event === 'error');
  expect(facts.error).toMatchObject({ code: 'ERR_REDIS_REPLY', reply: 'WRONGPASS' });
  expect(facts.error.message).not.toContain('hunter2');
});

test('an attempt that the end of the store interrupts is traced to its end', async () => {
  const silent = createServer(() => {}).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  cleanups.push(() => silent.close());
  const events = traceConnects();
  const { store } = open({ url: `redis://127.0.0.1:${silent.address().port}` });
  await until(() => events.length > 0);
  await store.close();
  await until(() => events.length === FAILED.length);
  expect(events.map(({ event }) => event)).toEqual(FAILED);
  expect(events.at(-1).facts.error.code).toBe('ERR_STORE_CLOSED');
});

test.each([['native'], ['client']])(
  'the channels of connections report a connection, its loss and its end on the %s transport',
  async (transport) => {
    const server = await keep(startRedis());
    const ready = messagesOf('connection:ready');
    const closed = messagesOf('connection:closed');
    const isNative = transport === 'native';
    const where = isNative
      ? { url: server.url }
      : { client: await openClient('redis6', server.port), transport };
    const { store } = open(where);
    await store.set(ID, SESSION);
    await server.kill();
    await until(() => closed.length === 1);
    await server.start();
    await store.set(ID, SESSION);
    await store.close();
    await until(() => closed.length === 2);

    const place = {
      serverAddress: isNative ? '127.0.0.1' : undefined,
      serverPort: isNative ? server.port : undefined,
      database: isNative ? 0 : undefined,
      transport,
    };
    const version = isNative ? expect.stringMatching(/^\d+\.\d+/) : undefined;
    expect(ready).toEqual([
      { ...place, version },
      { ...place, version },
    ]);
    expect(closed).toEqual([
      { ...place, reason: expect.any(String), error: expect.any(Error) },
      { ...place, reason: 'the store was closed' },
    ]);
    expect(closed[0].error.code).toBe('ERR_REDIS_UNAVAILABLE');
  },
);

test('a client that the app closes is reported as closed, without an error', async () => {
  const server = await keep(startRedis());
  const closed = messagesOf('connection:closed');
  const client = await openClient('ioredis6', server.port);
  const { store } = open({ client, transport: 'client' });
  await store.set(ID, SESSION);
  await client.quit();
  await until(() => closed.length === 1);
  expect(closed[0]).toMatchObject({ transport: 'client', reason: 'the app has closed it' });
  expect(closed[0]).not.toHaveProperty('error');
});

test('a subscriber that comes after the store receives what follows the next operation', async () => {
  const server = await keep(startRedis());
  const { store } = open({ url: server.url, cache: true });
  await store.set(ID, SESSION);
  await store.get(ID);
  const closed = messagesOf('connection:closed');
  const invalidations = messagesOf('cache:invalidation');
  await store.touch('another-id', SESSION);
  await askOnce(server, 'DEL', `sess:${ID}`);
  await until(() => invalidations.length === 1);
  await server.kill();
  await until(() => closed.length === 1);
});

test('the channels of the cache name the sessions that were invalidated or evicted by their hashes', async () => {
  const server = await keep(startRedis());
  const invalidations = messagesOf('cache:invalidation');
  const evictions = messagesOf('cache:eviction');
  const { store } = open({ url: server.url, cache: { maxEntries: 1 } });
  for (const id of ['one', 'two']) {
    await store.set(id, SESSION);
    await store.get(id);
  }
  await until(() => evictions.length === 1);
  const [evicted] = evictions;
  const kept = [sessionHash('one'), sessionHash('two')].find((hash) => hash !== evicted.sessionHash);
  expect([sessionHash('one'), sessionHash('two')]).toContain(evicted.sessionHash);
  await askOnce(server, 'DEL', 'sess:one', 'sess:two');
  await until(() => invalidations.length === 1);
  expect(invalidations).toEqual([{ sessionHash: kept }]);
  // The store's own writes are no news.
  await store.set('one', SESSION);
  await store.get('one');
  await store.set('one', { ...SESSION, value: 2 });
  await store.get('one');
  expect(invalidations).toHaveLength(1);
});

test('of stores that share a connection, one reports each event, and a session by the store that has its prefix', async () => {
  const server = await keep(startRedis());
  const ready = messagesOf('connection:ready');
  const closed = messagesOf('connection:closed');
  const invalidations = messagesOf('cache:invalidation');
  const { store: first } = open({ url: server.url, cache: true, prefix: 'a:' });
  const { store: second } = open({ url: server.url, cache: true, prefix: 'b:' });
  for (const store of [first, second]) {
    await store.set(ID, SESSION);
    await store.get(ID);
  }
  expect(ready).toHaveLength(1);
  await askOnce(server, 'DEL', `b:${ID}`);
  await until(() => invalidations.length === 1);
  expect(invalidations).toEqual([{ sessionHash: sessionHash(ID) }]);
  await first.close();
  expect(closed).toHaveLength(0);
  await server.kill();
  await until(() => closed.length === 1);
});

test(
  'an attempt through Sentinels is traced with the address of the primary that it has found',
  async () => {
    const group = await keep(startSentinel());
    const events = traceConnects();
    const { store } = open({ sentinel: { name: group.name, addresses: group.addresses } });
    await store.set(ID, SESSION);
    const { port } = await group.primary();
    const [start] = events;
    const end = events.find(({ event }) => event === 'asyncEnd');
    expect(start.facts).toMatchObject({ serverAddress: undefined, serverPort: undefined });
    expect(end.facts).toMatchObject({ serverAddress: '127.0.0.1', serverPort: port, attempt: 1 });
  },
  LIMIT_MS,
);

test(
  'the connection to each node of a cluster is reported, and each is closed with the store',
  async () => {
    const cluster = await keep(startCluster({ replicas: 0 }));
    const ports = (messages) => messages.map(({ serverPort }) => serverPort).sort();
    const ready = messagesOf('connection:ready');
    const closed = messagesOf('connection:closed');
    const { store } = open({ cluster: { addresses: cluster.addresses.slice(0, 1) } });
    await store.set(ID, SESSION);
    await until(() => ready.length === 3);
    expect(ports(ready)).toEqual(cluster.nodes.map(({ port }) => port).sort());
    await store.close();
    await until(() => closed.length === 3);
    expect(ports(closed)).toEqual(ports(ready));
    expect(closed.every(({ error }) => error === undefined)).toBe(true);
  },
  LIMIT_MS,
);

test.each([['native'], ['client']])(
  'one `error` event is emitted per outage on the %s transport, however many attempts fail',
  async (transport) => {
    const server = await keep(startRedis());
    const isNative = transport === 'native';
    const client = isNative ? undefined : await openClient('redis6', server.port);
    let clientErrors = 0;
    client?.on('error', () => clientErrors++);
    const events = traceConnects();
    const failures = () => (isNative ? events.filter(({ event }) => event === 'error').length : clientErrors);
    const { store, errors } = open(isNative ? { url: server.url } : { client, transport });
    // Those that follow on a machine so slow that an outage takes 10 s have a count.
    const firstErrors = () => errors.filter(({ suppressed }) => suppressed === undefined);
    for (let outage = 1; outage <= 2; outage++) {
      await until(() => store.status === 'ready');
      const before = failures();
      await server.kill();
      await until(() => failures() >= before + 3);
      await until(() => firstErrors().length === outage);
      await server.start();
    }
    await until(() => store.status === 'ready');
    expect(firstErrors()).toHaveLength(2);
  },
);

test('the limit of errors admits one of each code in 10 s, and the next one counts those left out', () => {
  const limit = new ErrorLimit();
  const error = (code) => Object.assign(new Error(code), { code });
  const admitted = (time, code = 'ERR_A') => {
    const one = error(code);
    return limit.admits(one, time) ? (one.suppressed ?? 0) : undefined;
  };
  expect([0, 1, 9_999].map((time) => admitted(time))).toEqual([0, undefined, undefined]);
  expect(admitted(5_000, 'ERR_B')).toBe(0);
  expect(admitted(10_000)).toBe(2);
  expect(admitted(19_999)).toBeUndefined();
  expect(admitted(20_000)).toBe(1);
  expect(admitted(20_001)).toBeUndefined();
  limit.reset();
  expect(admitted(20_002)).toBe(0);
  expect(admitted(40_000)).toBe(0);
});
