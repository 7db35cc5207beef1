'use strict';

const path = require('node:path');
const redis6 = require('redis');
const { RedisStore } = require('../..');
const { connectRaw, startRedis, useRedis } = require('../support/redis.js');
const { endedWith, runNode } = require('../support/run.js');
const { closeAll, keepStore, openClient } = require('../support/stores.js');
const { until } = require('../support/until.js');

// The queue, the retries and the deadlines of commands on the app's client.

const redis = useRedis();
afterEach(closeAll);

const open = (client, options) =>
  keepStore(new RedisStore({ client, transport: 'client', commandTimeout: 20_000, ...options }));

test('operations that wait for a connection are sent in their order once it is there', async () => {
  const client = redis6.createClient({ url: redis.server.url });
  const store = open(client);
  const saves = Array.from({ length: 1000 }, (_, n) => store.set('abc', { n }));
  const read = store.get('abc');
  await client.connect();
  await Promise.all(saves);
  expect(await read).toEqual({ n: 999 });
  await store.close();
  await client.close();
});

test('a write that a replica refuses is sent again, with the writes after it, until the server is a primary', async () => {
  const own = await startRedis();
  const control = await connectRaw(own.port);
  try {
    const store = open(await openClient('redis6', own.port));
    await store.set('abc', { n: 0 });
    await control.command('REPLICAOF', '127.0.0.1', '1');
    const saves = [1, 2, 3].map((n) => store.set('abc', { n }));
    await until(async () => {
      const stats = String(await control.command('INFO', 'commandstats'));
      return Number(/^cmdstat_set:.*rejected_calls=(\d+)/m.exec(stats)?.[1]) > 3;
    });
    await control.command('REPLICAOF', 'NO', 'ONE');
    expect(await Promise.all(saves)).toEqual([null, null, null]);
    expect(await store.get('abc')).toEqual({ n: 3 });
    await closeAll();
  } finally {
    await control.close();
    await own.stop();
  }
});

test('a write behind a lost one is repeated in its place, and a read behind it is not', async () => {
  const client = await openClient('ioredis6', redis.port);
  const sent = [];
  let losses = 1;
  const call = async (...words) => {
    sent.push(words.slice(0, 3).join(' '));
    const reply = await client.call(...words);
    // The server has executed it.
    if (losses-- > 0) throw new Error('Connection is closed.');
    return reply;
  };
  const store = open({ call });
  const results = await Promise.all([
    store.set('abc', { n: 1 }),
    store.set('abc', { n: 2 }),
    store.get('abc'),
  ]);
  expect(results).toEqual([null, null, { n: 2 }]);
  const sets = [1, 2].map((n) => `set sess:abc {"n":${n}}`);
  expect(sent).toEqual([...sets, 'get sess:abc', 'pttl sess:abc', ...sets]);
});

test('an operation succeeds when the event loop was blocked for longer than its timeout', async () => {
  const store = open(await openClient('redis6', redis.port), { commandTimeout: 500 });
  await store.set('abc', { n: 1 });
  const read = store.get('abc');
  await new Promise(setImmediate);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2000);
  expect(await read).toEqual({ n: 1 });
});

test('`clear` ends with a client that replies synchronously to thousands of commands', async () => {
  const keys = new Set(Array.from({ length: 10_000 }, (_, n) => `sess:${n}`));
  const call = (name, key) => {
    if (name === 'scan') return ['0', [...keys]];
    return name === 'unlink' ? Number(keys.delete(key)) : 'run_id:1';
  };
  const store = open({ call });
  expect(await store.clear()).toBeNull();
  expect(keys.size).toBe(0);
});

test('bytes that are not UTF-8 are stored as they are', async () => {
  const bytes = Buffer.from([0, 255, 128, 13, 10, 0xc3]);
  const serializer = { stringify: () => bytes, parse: (text) => ({ text }) };
  for (const kind of ['redis6', 'ioredis6']) {
    const store = open(await openClient(kind, redis.port), { serializer });
    await store.set('abc', {});
    expect(await redis.command('GET', 'sess:abc')).toEqual(bytes);
    expect(await store.get('abc')).toEqual({ text: bytes.toString() });
  }
});

test('a conditional save is not stored over bytes that only look like the loaded text', async () => {
  const store = open(await openClient('redis6', redis.port), { onConflict: 'reject' });
  await redis.command('SET', 'sess:abc', Buffer.from('{"text":"\xff"}', 'latin1'));
  const session = await store.get('abc');
  await expect(store.set('abc', Object.assign(session, { n: 1 }))).rejects.toMatchObject({
    code: 'ERR_SESSION_CONFLICT',
  });
  expect(await redis.command('GET', 'sess:abc')).toEqual(Buffer.from('{"text":"\xff"}', 'latin1'));
});

test('a forgotten store leaves no listeners on its client', async () => {
  const program = path.join(__dirname, 'programs', 'forgotten.js');
  expect(await runNode('--expose-gc', program, redis.server.url)).toEqual(endedWith('no listeners'));
});
