'use strict';

const { RedisStore } = require('../..');
const { useRedis } = require('../support/redis.js');
const { closeAll, keepStore, openStore } = require('../support/stores.js');

const redis = useRedis();
afterEach(closeAll);

const open = (options) => keepStore(new RedisStore({ url: redis.server.url, ...options }));

describe('options as strings from the environment', () => {
  test.each([
    ['ttl', '3600', 3600],
    ['ttl', '0.5', 0.5],
    ['ttl', '0', 86_400],
    ['scanCount', '200', 200],
    ['disableTouch', 'true', true],
    ['disableTouch', 'false', false],
    ['disableTTL', 'true', true],
    ['disableTTL', 'false', false],
    ['touchAfter', '60', 60],
    ['saveDestroyed', 'true', true],
    // A variable without a value.
    ['ttl', '', 86_400],
    ['scanCount', '', 100],
    ['disableTouch', '', false],
    ['touchAfter', '', 0],
  ])('the option %s: %p is read as %p', (option, value, expected) => {
    expect(open({ [option]: value })[option]).toBe(expected);
  });

  test.each([
    [{ connectTimeout: '2000', commandTimeout: '3000', maxQueue: '10' }],
    [{ maxQueue: '0' }],
    [{ cache: 'true' }],
    [{ cache: 'false' }],
    [{ cache: { maxBytes: '1000000', maxEntries: '1000', maxStaleness: '500' } }],
    [{ tls: 'false' }],
    [{ tls: { rejectUnauthorized: 'false' } }],
  ])('the constructor accepts options as strings: %j', (options) => {
    open(options);
  });

  test('the constructor accepts the database and the ports of servers as strings', () => {
    const sentinel = { name: 'main', addresses: [{ host: '127.0.0.1', port: '1' }] };
    keepStore(new RedisStore({ sentinel, database: '2' }));
    keepStore(new RedisStore({ cluster: [{ host: '127.0.0.1', port: '1' }] }));
  });

  test("the option cache: 'false' turns the cache off", () => {
    expect(open({ cache: 'false' }).cacheStats()).toBeNull();
    expect(open({ cache: 'true' }).cacheStats()).not.toBeNull();
  });
});

test.each([
  ['ttl', '1e3'],
  ['ttl', '0x10'],
  ['ttl', ' 60'],
  ['ttl', '60s'],
  ['ttl', 'true'],
  ['scanCount', '10 000'],
  ['commandTimeout', '5s'],
  ['disableTouch', '1'],
  ['disableTTL', 'TRUE'],
  ['saveDestroyed', 'yes'],
  ['cache', '1'],
])('the constructor rejects the option %s: %p', (option, value) => {
  expect(() => open({ [option]: value })).toThrow(
    expect.objectContaining({
      code: 'ERR_INVALID_ARG_TYPE',
      message: expect.stringContaining(`"${option}"`),
    }),
  );
});

test.each([
  ['ttl', '-1'],
  ['scanCount', '1.5'],
  ['maxQueue', '-1'],
])('the constructor throws ERR_OUT_OF_RANGE for the option %s: %p', (option, value) => {
  expect(() => open({ [option]: value })).toThrow(expect.objectContaining({ code: 'ERR_OUT_OF_RANGE' }));
});

test('fields, and what a ttl function returns, may be strings', async () => {
  const store = await openStore('url', redis.port);
  store.ttl = '60';
  store.disableTouch = 'true';
  expect([store.ttl, store.disableTouch]).toEqual([60, true]);

  store.ttl = () => '60';
  await store.set('abc', { cookie: {} });

  expect(await redis.lifetime('sess:abc')).toBeGreaterThan(30_000);
  expect(await redis.lifetime('sess:abc')).toBeLessThanOrEqual(60_000);
});
