'use strict';

const path = require('node:path');
const { useRedis } = require('../support/redis.js');
const { endedWith, runNode } = require('../support/run.js');
const { closeAll, keepStore, openStore } = require('../support/stores.js');

const redis = useRedis();

/** Short, but long enough for Redis to answer on a busy machine. */
const SHORT_MS = 2000;

// An app's tests fake the timers of the app: replies of Redis arrive all the same.
beforeEach(() => jest.useFakeTimers());
afterEach(() => jest.useRealTimers());
afterEach(closeAll);

const coded = (code) => expect.objectContaining({ code });

test('thousands of sessions are stored and read while timers are faked', async () => {
  const store = await openStore('url', redis.port);
  const ids = Array.from({ length: 3000 }, (_, n) => `abc${n}`);

  await Promise.all(ids.map((id, n) => store.set(id, { n, text: 'x'.repeat(500) })));

  expect((await Promise.all(ids.map((id) => store.get(id)))).map(({ n }) => n)).toEqual(ids.map((_, n) => n));
  expect(await store.all()).toHaveLength(3000);
  expect(await store.ids()).toHaveLength(3000);
});

test('operations reject while timers are faked', async () => {
  const store = await openStore('url', redis.port, { ttl: () => 'long' });

  await expect(store.get({})).rejects.toEqual(coded('ERR_INVALID_ARG_TYPE'));
  await expect(store.set('abc', {})).rejects.toEqual(coded('ERR_INVALID_ARG_TYPE'));
  await store.close();
  await expect(store.get('abc')).rejects.toEqual(coded('ERR_STORE_CLOSED'));
});

test('functions of the app have their real deadline while timers are faked', async () => {
  const serializer = { parse: async (text) => JSON.parse(text), stringify: JSON.stringify };
  const onConflict = async (_base, theirs, mine) => ({ ...theirs, ...mine });
  const store = await openStore('url', redis.port, { serializer, onConflict });
  await store.set('abc', { a: 1 });

  const loaded = await store.get('abc');
  loaded.a = 3;
  await redis.command('SET', 'sess:abc', '{"b":2}');
  await store.set('abc', loaded);
  expect(await store.get('abc')).toEqual({ a: 3, b: 2 });

  const parse = () => new Promise(() => {});
  const hanging = await openStore('url', redis.port, {
    serializer: { ...serializer, parse },
    commandTimeout: SHORT_MS,
  });
  await expect(hanging.get('abc')).rejects.toEqual(coded('ERR_APP_FUNCTION'));
});

test('the module can be loaded while timers are faked', async () => {
  let RedisStore;
  jest.isolateModules(() => {
    ({ RedisStore } = require('../..'));
  });
  const onConflict = async (_base, theirs, mine) => ({ ...theirs, ...mine });
  const store = keepStore(new RedisStore({ url: redis.server.url, onConflict }));

  await expect(store.get({})).rejects.toEqual(coded('ERR_INVALID_ARG_TYPE'));
  await redis.command('SET', 'sess:abc', '{"a":1}');
  await store.set('abc', { b: 2 });
  expect(await store.get('abc')).toEqual({ a: 1, b: 2 });
  expect(await store.all()).toHaveLength(1);
});

test('setting the clock back delays no deadline', async () => {
  const onConflict = () => new Promise(() => {});
  const store = await openStore('url', redis.port, { onConflict, commandTimeout: SHORT_MS });
  await redis.command('SET', 'sess:abc', '{"b":2}');
  const saved = store.set('abc', { a: 1 });
  jest.setSystemTime(Date.now() - 3_600_000);

  await expect(saved).rejects.toEqual(coded('ERR_SESSION_CONFLICT'));
});

describe('in a process without jest', () => {
  const program = path.join(__dirname, 'programs', 'fake-timers.js');
  const expected = endedWith(
    '3000 3000 3000 3000 cookie,b,a,c ERR_APP_FUNCTION ERR_APP_FUNCTION ERR_STORE_CLOSED',
  );

  test.each(
    ['sinon', 'sinon with nextTick', 'node:test', 'node:test, some'].flatMap((kind) => [
      [kind, 'before'],
      [kind, 'after'],
    ]),
  )('a store works with the fake timers of %s, installed %s the package is loaded', async (kind, when) => {
    const { stderr, ...ended } = await runNode(program, kind, when, redis.server.url);
    // Node 20 warns that its mock timers are experimental.
    expect({
      ...ended,
      stderr: stderr.replace(/^.*ExperimentalWarning.*\n.*--trace-warnings.*\n/m, ''),
    }).toEqual(expected);
  });
});
