'use strict';

const { RedisStore: ConnectRedis10 } = require('connect-redis10');
const { useRedis } = require('../support/redis.js');
const { closeAll, openClient, openStore, styles } = require('../support/stores.js');

const redis = useRedis();
afterEach(closeAll);

const kinds = {
  'a Buffer': (text) => Buffer.from(text),
  'a Uint8Array': (text) => new Uint8Array(Buffer.from(text)),
  'a view of a part of a larger buffer': (text) => Buffer.from(`--${text}--`).subarray(2, -2),
};
const session = { cookie: {}, user: 'änn ☃ 😀' };

describe.each(Object.entries(kinds))('serializer.stringify returns %s', (_what, make) => {
  const parsed = [];
  const serializer = {
    stringify: (value) => make(JSON.stringify(value)),
    parse: (text) => {
      parsed.push(text);
      return JSON.parse(text);
    },
  };
  beforeEach(() => parsed.splice(0));

  describe.each([{}, { cache: true }, { onConflict: 'reject' }, { touchAfter: 60 }])('with %j', (options) => {
    test.each(Object.entries(styles))(
      'bytes from a serializer are stored as connect-redis stores them (%s)',
      async (_style, call) => {
        const client = await openClient('redis6', redis.port);
        // node-redis accepts no other bytes.
        const stringify = (value) => Buffer.from(serializer.stringify(value));
        const predecessor = new ConnectRedis10({ client, serializer: { ...serializer, stringify } });
        const store = await openStore('url', redis.port, { serializer, ...options });

        await call(store, 'set', 'abc', session);
        await predecessor.set('def', session);

        const stored = await redis.command('GET', 'sess:abc');
        expect(stored).toEqual(Buffer.from(JSON.stringify(session)));
        expect(await redis.command('GET', 'sess:def')).toEqual(stored);
        expect(await call(store, 'get', 'abc')).toEqual(session);
        expect(await call(store, 'get', 'def')).toEqual(session);
        expect(await predecessor.get('abc')).toEqual(session);
        expect(new Set(parsed.map((text) => typeof text))).toEqual(new Set(['string']));
      },
    );
  });

  test("bytes from a serializer are stored with transport 'client'", async () => {
    const client = await openClient('redis6', redis.port);
    const store = await openStore('redis6', redis.port, { serializer, client, transport: 'client' });
    await store.set('abc', session);
    expect(await store.get('abc')).toEqual(session);
  });

  test('a conditional save with a serializer of bytes detects what others saved', async () => {
    const open = () =>
      openStore('url', redis.port, {
        serializer,
        onConflict: (_base, theirs, mine) => ({ ...theirs, ...mine }),
      });
    const [one, other] = [await open(), await open()];
    await one.set('abc', { cookie: {}, a: 1 });
    const [first, second] = [await one.get('abc'), await other.get('abc')];

    await other.set('abc', { ...second, b: 2 });
    first.c = 3;
    await one.set('abc', first);

    expect(await one.get('abc')).toEqual({ cookie: {}, a: 1, b: 2, c: 3 });
  });
});

test('bytes that are not UTF-8 are stored unchanged', async () => {
  const bytes = Buffer.from([0, 255, 128, 13, 10, 0xc3]);
  const store = await openStore('url', redis.port, {
    serializer: { stringify: () => bytes, parse: (text) => ({ text }) },
  });

  await store.set('abc', {});
  await store.set('large', {});

  expect(await redis.command('GET', 'sess:abc')).toEqual(bytes);
  expect(await store.get('abc')).toEqual({ text: bytes.toString() });
});

test('a Buffer of 5 MB is stored whole', async () => {
  const bytes = Buffer.alloc(5_000_000, 'é');
  const store = await openStore('url', redis.port, {
    serializer: { stringify: () => bytes, parse: (text) => ({ length: text.length }) },
  });

  await Promise.all([store.set('a', {}), store.set('b', {}), store.set('c', {})]);

  expect((await redis.command('GET', 'sess:b')).equals(bytes)).toBe(true);
  expect(await store.get('c')).toEqual({ length: 2_500_000 });
});

test.each([undefined, null, 17, {}, [1, 2], new ArrayBuffer(2), true])(
  '`set` rejects with ERR_INVALID_ARG_TYPE when stringify returns %p',
  async (value) => {
    const store = await openStore('url', redis.port, {
      serializer: { stringify: () => value, parse: JSON.parse },
    });

    await expect(store.set('abc', {})).rejects.toMatchObject({
      code: 'ERR_INVALID_ARG_TYPE',
      message: expect.stringMatching(/stringify.*string or a Buffer/),
    });
    expect(await redis.keys()).toEqual([]);
  },
);
