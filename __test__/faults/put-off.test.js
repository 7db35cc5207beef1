'use strict';

const { connectRaw, startRedis, useRedis } = require('../support/redis.js');
const { closeAll, familySources, openStore } = require('../support/stores.js');
const { NEVER_MS, until } = require('../support/until.js');

// Answers that mean "later": they are tried again until the deadline.

const options = { commandTimeout: NEVER_MS };

const redis = useRedis();
afterEach(async () => {
  await redis.command('REPLICAOF', 'NO', 'ONE');
  await redis.command('CONFIG', 'SET', 'replica-serve-stale-data', 'yes');
  await closeAll();
});

/** Makes the server the replica of one that is not there. */
const demote = () => redis.command('REPLICAOF', '127.0.0.1', '1');

/** The attempts to connect, or losses, that gave this reason. */
function reasons(store, word) {
  const seen = [];
  for (const event of ['error', 'reconnecting'])
    store.on(event, ({ message }) => message.includes(word) && seen.push(message));
  return seen;
}

describe.each(familySources)('a server that was made a replica, by %s,', (source) => {
  test('is asked for writes until it is a primary again, and for reads meanwhile', async () => {
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

  test('that stays one: the error of a write names it', async () => {
    const store = await openStore(source, redis.port, { commandTimeout: 1000 });
    await demote();
    await expect(store.set('abc', { n: 1 })).rejects.toMatchObject({
      code: 'ERR_REDIS_UNAVAILABLE',
      message: expect.stringMatching(/^set: .* within 1000 ms \(sent \d+ times; the last: .*READONLY/),
    });
  });

  test('and serves nothing without its primary: reads wait for it', async () => {
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
  test('a server that is busy with a script is waited for', async () => {
    const store = await openStore('url', redis.port, { ...options, ...more });
    const seen = reasons(store, 'BUSY');
    const amiss = [];
    store.on('error', ({ code }) => amiss.push(code));
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
      expect(amiss).not.toContain('ERR_CACHE_OFF');
    } finally {
      await redis.command('SCRIPT', 'KILL');
      await busy.close();
    }
  });
});

test('a server that loads its data is waited for', async () => {
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
