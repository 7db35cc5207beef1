'use strict';

const { setTimeout: sleep } = require('node:timers/promises');
const { useRedis } = require('../support/redis.js');
const { closeAll, openStore, styles } = require('../support/stores.js');

/** Short, but long enough for Redis to answer on a busy machine. */
const SHORT_MS = 1000;

const redis = useRedis();
afterEach(closeAll);

const store = (id, value) => redis.command('SET', `sess:${id}`, value);

describe.each(Object.entries(styles))('`get` of a corrupt record, called in %s style', (_style, call) => {
  const secret = 'c3cr3t';
  const id = 'id-of-ann';

  test.each([
    ['cut off', `{"token":"${secret}"`, 17],
    ['not JSON at all', secret, 0],
    ['with text after the end', `{"token":"${secret}"} ${secret}`, 19],
    ['with a bare word in it', `{"token":"${secret}",${secret}:1}`, 18],
    ['with a tab in a string', `{"token":"${secret}\t"}`, 16],
    ['with a line break in a string', `{"token":"${secret}\n"}`, 16],
    ['on its third line', `{\n"token":\n"${secret}" 1}`, 20],
    ['after characters of more than one byte', `{"token":"é😀","${secret}"}`, 23],
    ['with a wrong escape', `{"token":"${secret}\\x"}`, 17],
    ['white space only', '  ', 2],
    ['a byte order mark before it', `\uFEFF{"token":"${secret}"}`, 0],
  ])(
    '`get` rejects with the position of the corruption, without content or id: %s',
    async (_how, value, position) => {
      await store(id, value);

      const error = await call(await openStore('url', redis.port), 'get', id).catch((reason) => reason);

      expect(error).toMatchObject({ name: 'RedisStoreError', code: 'ERR_SESSION_CORRUPT', position });
      expect(error.message).toContain('sess:');
      expect(error.message).toContain(String(position));
      expect(`${error.stack} ${JSON.stringify(error)} ${error.cause}`).not.toMatch(
        new RegExp(`${secret}|${id}`),
      );
    },
  );

  test('`get` of a corrupt record names the prefix in use', async () => {
    await redis.command('SET', 'shop:abc', '{');

    await expect(call(await openStore('url', redis.port, { prefix: 'shop:' }), 'get', 'abc')).rejects.toThrow(
      /shop:/,
    );
  });
});

test('a `get` after one of a corrupt record returns its session', async () => {
  await store('bad', '{');
  await store('good', '{"user":"ann"}');
  const sessions = await openStore('url', redis.port);

  const results = await Promise.allSettled(['good', 'bad', 'good'].map((id) => sessions.get(id)));

  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
});

describe('all', () => {
  beforeEach(async () => {
    await store('ann', '{"user":"ann"}');
    await store('bob', '{"user":"bob"}');
  });

  const goodOnes = expect.arrayContaining([
    { user: 'ann', id: 'ann' },
    { user: 'bob', id: 'bob' },
  ]);

  test('`all` returns the readable sessions and counts the corrupt ones', async () => {
    await store('cut', '{"user":"cy');
    await store('word', 'undefined');
    const sessions = await (await openStore('url', redis.port)).all();

    expect(sessions).toHaveLength(2);
    expect(sessions).toEqual(goodOnes);
    expect(sessions.corrupt).toBe(2);
  });

  test('`all` sets `corrupt` to 0, not enumerable, when all records are readable', async () => {
    const sessions = await (await openStore('url', redis.port)).all();

    expect(sessions.corrupt).toBe(0);
    expect(Object.keys(sessions)).toEqual(['0', '1']);
    expect(Object.getOwnPropertyDescriptor(sessions, 'corrupt')).toMatchObject({
      enumerable: false,
      writable: false,
    });
  });

  test.each(['null', '17', 'true', '"text"'])(
    '`all` counts JSON that is not an object as corrupt: %s',
    async (value) => {
      await store('odd', value);
      const sessions = await (await openStore('url', redis.port)).all();

      expect(sessions).toHaveLength(2);
      expect(sessions).toEqual(goodOnes);
      expect(sessions.corrupt).toBe(1);
    },
  );

  test('`all` leaves out empty strings and keys that are not strings', async () => {
    await store('empty', '');
    await redis.command('LPUSH', 'sess:list', 'a');
    await redis.command('HSET', 'sess:hash', 'a', 'b');
    const sessions = await (await openStore('url', redis.port)).all();

    expect(sessions).toHaveLength(2);
    expect(sessions).toEqual(goodOnes);
  });

  test('`all` awaits sessions that parse returns as promises', async () => {
    const parse = async (text) => {
      await new Promise((resolve) => setImmediate(resolve));
      return JSON.parse(text);
    };
    const sessions = await (
      await openStore('url', redis.port, { serializer: { parse, stringify: JSON.stringify } })
    ).all();

    expect(sessions).toHaveLength(2);
    expect(sessions).toEqual(goodOnes);
    expect(sessions.corrupt).toBe(0);
  });

  test.each([
    ['throws', (text) => JSON.parse(text)],
    ['rejects', async (text) => JSON.parse(text)],
  ])("`all` counts a record as corrupt when the app's parse %s", async (_how, parse) => {
    await store('cut', '{"user":"cy');
    const sessions = await (
      await openStore('url', redis.port, { serializer: { parse, stringify: JSON.stringify } })
    ).all();

    expect(sessions).toHaveLength(2);
    expect(sessions).toEqual(goodOnes);
    expect(sessions.corrupt).toBe(1);
  });

  test('`all` counts a session as corrupt when its id cannot be set on it', async () => {
    const parse = (text) => Object.freeze(JSON.parse(text));
    const sessions = await (
      await openStore('url', redis.port, { serializer: { parse, stringify: JSON.stringify } })
    ).all();

    expect(sessions).toEqual([]);
    expect(sessions.corrupt).toBe(2);
  });
});

describe.each(Object.entries(styles))("`get` with the app's parse, called in %s style", (_style, call) => {
  const failure = new Error('cannot be decrypted');

  test.each([
    [
      'throws',
      () => {
        throw failure;
      },
    ],
    ['rejects', () => Promise.reject(failure)],
  ])('`get` rejects with the error of parse when it %s', async (_how, parse) => {
    await store('abc', '{}');
    const sessions = await openStore('url', redis.port, { serializer: { parse, stringify: JSON.stringify } });

    const error = await call(sessions, 'get', 'abc').catch((reason) => reason);

    expect(error).toBe(failure);
  });

  test.each([
    [
      'throws',
      (value) => {
        throw value;
      },
    ],
    ['rejects', (value) => Promise.reject(value)],
  ])('`get` rejects with ERR_APP_FUNCTION when parse %s without an error', async (_how, fail) => {
    await store('abc', '{}');
    for (const value of [undefined, null, 0, '', false]) {
      for (const cache of [false, true]) {
        const serializer = { parse: () => fail(value), stringify: JSON.stringify };
        const sessions = await openStore('url', redis.port, { serializer, cache });
        // The second read is answered by the cache, if there is one.
        for (let reads = 0; reads < 2; reads++) {
          await expect(call(sessions, 'get', 'abc')).rejects.toMatchObject({
            name: 'RedisStoreError',
            code: 'ERR_APP_FUNCTION',
          });
        }
      }
    }
  });

  test.each([false, true])(
    '`get` rejects at its deadline when parse does not settle, with a cache: %p',
    async (cache) => {
      await store('abc', '{}');
      const serializer = { parse: () => new Promise(() => {}), stringify: JSON.stringify };
      const sessions = await openStore('url', redis.port, { serializer, cache, commandTimeout: SHORT_MS });

      for (let reads = 0; reads < 2; reads++) {
        const began = performance.now();
        const error = await call(sessions, 'get', 'abc').catch((reason) => reason);
        // A timer may fire a millisecond early.
        expect(performance.now() - began).toBeGreaterThan(SHORT_MS - 5);
        expect(error).toMatchObject({ name: 'RedisStoreError', code: 'ERR_APP_FUNCTION' });
        expect(error.message).toMatch(/^get failed: serializer\.parse .*commandTimeout/);
      }
    },
  );

  test('`all` rejects at its deadline when parse does not settle', async () => {
    await store('abc', '1');
    await store('def', '2');
    const parse = (text) => (text === '1' ? new Promise(() => {}) : { n: 2 });
    const serializer = { parse, stringify: JSON.stringify };
    const sessions = await openStore('url', redis.port, { serializer, commandTimeout: SHORT_MS });

    const error = await call(sessions, 'all').catch((reason) => reason);
    expect(error).toMatchObject({ name: 'RedisStoreError', code: 'ERR_APP_FUNCTION' });
    expect(error.message).toMatch(/^all failed: serializer\.parse /);
  });

  test('`get` measures the deadline of parse from its own call', async () => {
    await store('abc', '{}');
    const serializer = { parse: () => new Promise(() => {}), stringify: JSON.stringify };
    const sessions = await openStore('url', redis.port, { serializer, commandTimeout: 3000 });
    await sessions.get('nobody');

    redis.server.pause();
    const answer = call(sessions, 'get', 'abc').catch((reason) => reason);
    // A deadline measured from the reply would be later.
    const late = sleep(4800, { code: 'late' }, { ref: false });
    await sleep(2000);
    redis.server.resume();
    expect(await Promise.race([answer, late])).toMatchObject({ code: 'ERR_APP_FUNCTION' });
  });

  test('`get` returns the session that an asynchronous parse resolves to', async () => {
    await store('abc', '{"user":"ann"}');
    const serializer = { parse: async (text) => JSON.parse(text), stringify: JSON.stringify };

    expect(await call(await openStore('url', redis.port, { serializer }), 'get', 'abc')).toEqual({
      user: 'ann',
    });
  });

  test('`get` calls parse as a method of the serializer', async () => {
    await store('abc', 'whatever');
    class Tagging {
      tag = 'mine';
      parse() {
        return { tag: this.tag };
      }
      stringify() {
        return this.tag;
      }
    }
    const sessions = await openStore('url', redis.port, { serializer: new Tagging() });

    expect(await call(sessions, 'get', 'abc')).toEqual({ tag: 'mine' });
    await call(sessions, 'set', 'def', {});
    expect(String(await redis.command('GET', 'sess:def'))).toBe('mine');
  });
});
