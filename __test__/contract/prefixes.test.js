'use strict';

const { RedisStore } = require('../..');
const { useRedis } = require('../support/redis.js');
const { closeAll, keepStore, openClient, openStore } = require('../support/stores.js');

const redis = useRedis();
afterEach(closeAll);

// Each with keys that are not under the prefix, although its glob pattern, or a careless comparison, would match them.
const prefixes = [
  ['sess:', ['sess', 'Sess:1', 'xsess:1', 'sess1', 'ses']],
  ['*', ['a', 'a*', 'b1']],
  ['*:', ['a:1', ':1']],
  ['a*', ['ab1', 'a1', 'b*']],
  ['a?', ['ab1', 'a1', 'a']],
  ['?', ['a1', 'x?']],
  ['[ab]:', ['a:1', 'b:1']],
  ['[^a]', ['b1', '^1']],
  ['[a-z]', ['b1', '-1']],
  ['[', ['a1', ']1']],
  [']', ['a1', '[1']],
  ['[]', ['a', '[1']],
  ['a\\', ['a1', 'a', 'a/1']],
  ['\\*', ['*1', '1']],
  ['\\', ['1', '/1']],
  ['a\\[b', ['a[b1', 'ab1']],
  ['{tag}:', ['tag:1', '{tag:1']],
  ['!{a,b}', ['!a1', '!b1']],
  ['é:', ['e:1', 'e\u0301:1', '\u00C3:1']],
  ['日本*', ['日本x1', '日1']],
  ['😀?', ['😀a1', '😁?1']],
  ['\u0000:', [':1', '\u00001']],
  ['a b\n', ['a b1', 'a']],
  [`long-${'x'.repeat(5000)}*:`, [`long-${'x'.repeat(5001)}:1`]],
];

const ids = ['1', '', '*', 'é😀', '[x]?'];

describe.each(prefixes)('the prefix %j', (prefix, foreign) => {
  let store;
  beforeEach(async () => {
    store = await openStore('url', redis.port, { prefix });
    await Promise.all(ids.map((id) => store.set(id, { name: id })));
    for (const key of foreign) await redis.command('SET', key, '{"foreign":true}');
  });

  test('keys are the prefix followed by the id, byte for byte', async () => {
    expect(await redis.keys()).toEqual([...ids.map((id) => prefix + id), ...foreign].sort());
  });

  test('`ids`, `all` and `length` see the keys under the prefix and no others', async () => {
    expect((await store.ids()).sort()).toEqual([...ids].sort());
    expect(await store.length()).toBe(ids.length);
    const sessions = await store.all();
    expect(sessions.map(({ id }) => id).sort()).toEqual([...ids].sort());
    expect(sessions.every(({ id, name }) => id === name)).toBe(true);
  });

  test('`clear` deletes the keys under the prefix and no others', async () => {
    await store.clear();

    expect(await redis.keys()).toEqual([...foreign].sort());
  });
});

test('an empty prefix matches every key of the database, and none of another', async () => {
  const store = await openStore('url', redis.port, { prefix: '' });
  await store.set('abc', {});
  await redis.command('SET', 'sess:def', '{}');
  await redis.command('SELECT', 1);
  try {
    await redis.command('SET', 'elsewhere', '{}');

    expect((await store.ids()).sort()).toEqual(['abc', 'sess:def']);
    await store.clear();
    expect(await store.length()).toBe(0);
    expect(await redis.keys()).toEqual(['elsewhere']);
  } finally {
    await redis.command('SELECT', 0);
  }
});

test('two stores keep to their own keys when one prefix begins with the other', async () => {
  const [shop, shopAdmin] = [
    await openStore('url', redis.port, { prefix: 'shop:' }),
    await openStore('url', redis.port, { prefix: 'shop:admin:' }),
  ];
  await shop.set('ann', {});
  await shopAdmin.set('bob', {});

  expect((await shop.ids()).sort()).toEqual(['admin:bob', 'ann']);
  expect(await shopAdmin.ids()).toEqual(['bob']);
  await shopAdmin.clear();
  expect(await redis.keys()).toEqual(['shop:ann']);
});

test('keys whose bytes are not UTF-8 are counted and cleared', async () => {
  const store = await openStore('url', redis.port);
  await redis.command('SET', Buffer.from('sess:\xff\xfe', 'latin1'), '{"user":"ann"}');

  expect(await store.ids()).toEqual(['\uFFFD\uFFFD']);
  expect(await store.length()).toBe(1);
  expect(await store.all()).toEqual([{ user: 'ann', id: '\uFFFD\uFFFD' }]);
  await store.clear();
  expect(await redis.keys()).toEqual([]);
});

describe.each(['redis6', 'ioredis4', 'ioredis5', 'ioredis6', 'iovalkey'])(
  'the keyPrefix of a client of %s',
  (kind) => {
    describe.each(['app:', 'a*[b]?\\:', '日本:'])('with the keyPrefix %s', (keyPrefix) => {
      let store;
      beforeEach(async () => {
        store = keepStore(
          new RedisStore({ client: await openClient(kind, redis.port, { keyPrefix }), prefix: 's?:' }),
        );
        await store.set('ann', { user: 'ann' });
        await redis.command('SET', 's?:bob', '{}');
        await redis.command('SET', `${keyPrefix}sx:bob`, '{}');
        await redis.command('SET', `x${keyPrefix}s?:bob`, '{}');
      });
      const foreign = ['s?:bob', `${keyPrefix}sx:bob`, `x${keyPrefix}s?:bob`];

      test("a client's keyPrefix comes before the store's prefix in keys", async () => {
        expect(await redis.keys()).toEqual([`${keyPrefix}s?:ann`, ...foreign].sort());
        expect(store.prefix).toBe('s?:');
      });

      test("a client's keyPrefix is in no id", async () => {
        expect(await store.get('ann')).toEqual({ user: 'ann' });
        expect(await store.ids()).toEqual(['ann']);
        expect(await store.all()).toEqual([{ user: 'ann', id: 'ann' }]);
        expect(await store.length()).toBe(1);
      });

      test("`clear`, `touch` and `destroy` work on keys under the client's keyPrefix only", async () => {
        await store.touch('ann', { cookie: { expires: new Date(Date.now() + 20_000) } });
        expect(await redis.lifetime(`${keyPrefix}s?:ann`)).toBeLessThanOrEqual(20_000);

        await store.destroy('ann');
        await store.set('cy', {});
        await store.clear();
        expect(await redis.keys()).toEqual([...foreign].sort());
      });

      test("a client's keyPrefix remains when the prefix is changed", async () => {
        store.prefix = 't:';
        await store.set('dee', {});

        expect(await redis.keys()).toContain(`${keyPrefix}t:dee`);
        expect(await store.ids()).toEqual(['dee']);
      });
    });
  },
);
