'use strict';

const { RedisStore: ConnectRedis10 } = require('connect-redis10');
const { useRedis } = require('../support/redis.js');
const { closeAll, openClient, openStore, styles } = require('../support/stores.js');

const redis = useRedis();
afterEach(closeAll);

const wellFormed = {
  'an id as express-session makes them': 'Xh8vY3pJ2m-_4kQn0RzT6wLbEa1cUdfg',
  'the empty id': '',
  spaces: '  a b  ',
  'letters with accents': 'é\u0301ß',
  'characters of three bytes': '値☃',
  'astral characters': '😀𝒳',
  'a combining sequence': 'e\u0301\u0323',
  'right to left': '\u202Eשלום',
  'a NUL': 'a\u0000b',
  'line breaks': 'a\r\nb\nc\rd\u2028',
  'RESP as an id': '$3\r\nGET\r\n*1\r\n',
  'glob characters': '*?[a-z]\\',
  braces: '{tag}:a}{',
  quotes: '"\'`$(1)',
  'the prefix itself': 'sess:',
  'a name of Object.prototype': '__proto__',
  'another name of Object.prototype': 'constructor',
  'U+FFFD itself': 'a\uFFFDb',
  'a byte order mark': '\uFEFFa',
  'the last characters of each length': '\u007F\u0080\u07FF\u0800\uFFFF\u{10000}\u{10FFFF}',
  'a long id': 'x'.repeat(200_000),
  'a long id of wide characters': '値'.repeat(50_000),
};

// Not representable in UTF-8: each becomes U+FFFD in Redis.
const illFormed = {
  'a high surrogate alone': 'a\uD83D',
  'a low surrogate alone': '\uDE00b',
  'surrogates in the wrong order': '\uDE00\uD83D',
  'a surrogate within words': 'wide 値 \uD83D ascii',
};

describe.each(Object.entries({ ...wellFormed, ...illFormed }))('the id is %s', (_what, id) => {
  test('a session is stored under the key that connect-redis uses for its id', async () => {
    const predecessor = new ConnectRedis10({ client: await openClient('redis6', redis.port) });
    const store = await openStore('url', redis.port);

    await predecessor.set(id, { by: 'connect-redis' });
    const theirs = await redis.command('KEYS', '*');
    expect(await store.get(id)).toEqual({ by: 'connect-redis' });
    await store.set(id, { by: 'us' });

    // Still one key: ours replaced theirs.
    expect(await redis.command('KEYS', '*')).toEqual(theirs);
    expect(theirs).toEqual([Buffer.from(`sess:${id}`)]);
    expect(await predecessor.get(id)).toEqual({ by: 'us' });
  });

  test('every method works with the id', async () => {
    const store = await openStore('url', redis.port);
    const seen = Buffer.from(id).toString();
    await store.set(id, { user: 'ann' });

    expect(await store.get(id)).toEqual({ user: 'ann' });
    await store.touch(id, { cookie: { expires: new Date(Date.now() + 20_000) } });
    expect(await redis.lifetime(Buffer.from(`sess:${id}`))).toBeLessThanOrEqual(20_000);
    expect(await store.ids()).toEqual([seen]);
    expect(await store.all()).toEqual([{ user: 'ann', id: seen }]);
    expect(await store.length()).toBe(1);
    await store.destroy(id);
    expect(await redis.keys()).toEqual([]);
  });
});

test('ids that differ in one code unit, normal form or case are different sessions', async () => {
  const store = await openStore('url', redis.port);
  const ids = ['a', 'A', 'a ', ' a', 'a\u0000', 'é', 'e\u0301', '1', '01'];
  await Promise.all(ids.map((id, number) => store.set(id, { number })));

  const sessions = await Promise.all(ids.map((id) => store.get(id)));

  expect(sessions.map(({ number }) => number)).toEqual([...ids.keys()]);
  expect(await store.length()).toBe(ids.length);
});

test.each([
  [42, '42'],
  [-1.5, '-1.5'],
  [2n ** 64n, '18446744073709551616'],
])('a number as an id is converted to a string, as in connect-redis: %p', async (id, key) => {
  const predecessor = new ConnectRedis10({ client: await openClient('redis6', redis.port) });
  const store = await openStore('url', redis.port);

  await store.set(id, { user: 'ann' });
  expect(await redis.keys()).toEqual([`sess:${key}`]);
  expect(await predecessor.get(id)).toEqual({ user: 'ann' });
  expect(await store.get(id)).toEqual({ user: 'ann' });
  expect(await store.touch(id, { cookie: {} })).toBeNull();
  await store.destroy(id);
  expect(await redis.keys()).toEqual([]);
});

describe.each(Object.entries(styles))('an id that is not a string, in %s style', (_style, call) => {
  test.each([
    undefined,
    null,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    true,
    {},
    ['abc'],
    Buffer.from('abc'),
    Symbol('abc'),
    new String('abc'),
  ])('`get`, `set`, `touch` and `destroy` reject with ERR_INVALID_ARG_TYPE for the id %p', async (id) => {
    const store = await openStore('url', redis.port);
    await store.set('abc', { user: 'ann' });
    const session = { user: 'bob' };

    for (const [method, ...args] of [['get'], ['set', session], ['touch', session], ['destroy']]) {
      const error = await call(store, method, id, ...args).catch((reason) => reason);
      expect(error).toMatchObject({
        name: 'TypeError',
        code: 'ERR_INVALID_ARG_TYPE',
        message: expect.stringMatching(/id.*string/),
      });
    }

    expect(await redis.keys()).toEqual(['sess:abc']);
    expect(await redis.stored('sess:abc')).toEqual({ user: 'ann' });
  });
});
