'use strict';

const { connectRaw, startRedis, useRedis } = require('../support/redis.js');
const { closeAll, familySources, openStore } = require('../support/stores.js');
const { NEVER_MS, until } = require('../support/until.js');

// Transient errors are retried until the deadline.

const options = { commandTimeout: NEVER_MS };

const redis = useRedis();
afterEach(async () => {
  await redis.command('REPLICAOF', 'NO', 'ONE');
  await redis.command('CONFIG', 'SET', 'replica-serve-stale-data', 'yes');
  await closeAll();
});

/** Makes the server the replica of one that does not exist. */
const demote = () => redis.command('REPLICAOF', '127.0.0.1', '1');

/** Collects the messages of 'error' and 'reconnecting' events that contain `word`. */
function reasons(store, word) {
  const seen = [];
  for (const event of ['error', 'reconnecting'])
    store.on(event, ({ message }) => message.includes(word) && seen.push(message));
  return seen;
}

describe.each(familySources)('a server that was made a replica, by %s', (source) => {
  test('writes wait until a replica is a primary again, and reads succeed meanwhile', async () => {
    const store = await openStore(source, redis.port, options);
    const seen = reasons(store, 'READONLY');
    await store.set('abc', { n: 1 });
    await demote();

    const writes = [2, 3, 4].map((n) => store.set('abc', { n }));
    await until(() => seen.length > 0);
    expect(await store.get('abc')).toEqual({ n: 1 });
    await redis.command('REPLICAOF', 'NO', 'ONE');

    expect(await Promise.all(writes)).toEqual([null, null, null]);
    expect(await store.get('abc')).toEqual({ n: 4 });
  });

  test('a write rejects with READONLY as the last error when the server remains a replica', async () => {
    const store = await openStore(source, redis.port, { commandTimeout: 1000 });
    await demote();
    await expect(store.set('abc', { n: 1 })).rejects.toMatchObject({
      code: 'ERR_REDIS_UNAVAILABLE',
      message: expect.stringMatching(
        /^set failed: no success within 1000 ms \(.*; \d+ attempts; last error: .*READONLY/,
      ),
    });
  });

  test('reads wait while a replica without its primary rejects them with MASTERDOWN', async () => {
    const store = await openStore(source, redis.port, options);
    const seen = reasons(store, 'MASTERDOWN');
    await store.set('abc', { n: 1 });
    await redis.command('CONFIG', 'SET', 'replica-serve-stale-data', 'no');
    await demote();

    const read = store.get('abc');
    await until(() => seen.length > 0);
    await redis.command('REPLICAOF', 'NO', 'ONE');
    expect(await read).toEqual({ n: 1 });
  });
});

describe.each([{}, { cache: true }])('with %p', (more) => {
  test('operations wait while the server is busy with a script', async () => {
    const store = await openStore('url', redis.port, { ...options, ...more });
    const seen = reasons(store, 'BUSY');
    const codes = [];
    store.on('error', ({ code }) => codes.push(code));
    await store.set('abc', { n: 1 });
    await redis.command('CONFIG', 'SET', 'lua-time-limit', 50);
    const busy = await connectRaw(redis.port);
    try {
      const script = busy.command('EVAL', 'while true do end', 0);
      await until(async () => String((await redis.command('PING')).message).startsWith('BUSY'));
      const answers = [store.set('abc', { n: 2 }), store.get('other')];
      await until(() => seen.length > 1);
      await redis.command('SCRIPT', 'KILL');
      expect(await Promise.all(answers)).toEqual([null, null]);
      expect((await script).message).toMatch(/kill/i);
      expect(await store.get('abc')).toEqual({ n: 2 });
      expect(codes).not.toContain('ERR_CACHE_OFF');
    } finally {
      await redis.command('SCRIPT', 'KILL');
      await busy.close();
    }
  });
});

test('operations wait while the server loads its data', async () => {
  const KEYS = 1000;
  // A millisecond for each key. It answers after each 2 MB, an interval that Redis 6.2 cannot change.
  const args = ['--key-load-delay', '1000', '--rdbcompression', 'no'];
  const server = await startRedis({ args: ['--save', '3600 1000000', ...args] });
  const raw = await connectRaw(server.port);
  try {
    const store = await openStore('url', server.port, options);
    const seen = reasons(store, 'LOADING');
    await store.set('abc', { n: 1 });
    await Promise.all(
      Array.from({ length: KEYS }, (_, n) => raw.command('SET', `key-${n}`, 'x'.repeat(10_000))),
    );
    await raw.command('SAVE');
    await raw.close();
    await server.kill();

    const started = server.start();
    expect(await store.get('abc')).toEqual({ n: 1 });
    expect(seen).not.toEqual([]);
    await started;
  } finally {
    await closeAll();
    await raw.close();
    await server.stop();
  }
});
