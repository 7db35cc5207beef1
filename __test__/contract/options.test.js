'use strict';

const { inspect } = require('node:util');
const Redis = require('ioredis');
const { RedisStore } = require('../..');
const { useRedis } = require('../support/redis.js');
const { closeAll, keepStore, openClient } = require('../support/stores.js');

const redis = useRedis();
afterEach(closeAll);

/** What the constructor throws. */
function refusal(...args) {
  let store;
  try {
    store = new RedisStore(...args);
  } catch (error) {
    return error;
  }
  keepStore(store);
  throw new Error(`taken: ${inspect(args, { depth: 1 })}`);
}

const wrongType = { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' };
const wrongValue = { name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' };
const outOfRange = { name: 'RangeError', code: 'ERR_OUT_OF_RANGE' };

describe('an option that cannot be used is refused with its name and what was expected:', () => {
  test.each([
    ['prefix', 17, wrongType, 'string'],
    ['prefix', true, wrongType, 'string'],
    ['prefix', {}, wrongType, 'string'],
    ['prefix', ['sess:'], wrongType, 'string'],
    ['prefix', Buffer.from('sess:'), wrongType, 'string'],
    ['prefix', Symbol('sess:'), wrongType, 'string'],
    ['prefix', () => 'sess:', wrongType, 'string'],

    ['ttl', 'abc', wrongType, 'number'],
    ['ttl', '86400', wrongType, 'number'],
    ['ttl', true, wrongType, 'number'],
    ['ttl', false, wrongType, 'number'],
    ['ttl', 60n, wrongType, 'number'],
    ['ttl', {}, wrongType, 'number'],
    ['ttl', [60], wrongType, 'number'],
    ['ttl', new Date(), wrongType, 'number'],
    ['ttl', Number.NaN, outOfRange, 'number'],
    ['ttl', Number.POSITIVE_INFINITY, outOfRange, 'number'],
    ['ttl', Number.NEGATIVE_INFINITY, outOfRange, 'number'],
    ['ttl', Number.MAX_VALUE, outOfRange, 'number'],

    ['scanCount', '100', wrongType, 'number'],
    ['scanCount', true, wrongType, 'number'],
    ['scanCount', 100n, wrongType, 'number'],
    ['scanCount', {}, wrongType, 'number'],
    ['scanCount', -1, outOfRange, 'whole|integer'],
    ['scanCount', 1.5, outOfRange, 'whole|integer'],
    ['scanCount', Number.NaN, outOfRange, 'whole|integer'],
    ['scanCount', Number.POSITIVE_INFINITY, outOfRange, 'whole|integer'],
    ['scanCount', 2 ** 64, outOfRange, 'whole|integer'],

    ['disableTTL', 'yes', wrongType, 'boolean|true or false'],
    ['disableTTL', 1, wrongType, 'boolean|true or false'],
    ['disableTTL', {}, wrongType, 'boolean|true or false'],
    ['disableTouch', 'false', wrongType, 'boolean|true or false'],
    ['disableTouch', 0, wrongType, 'boolean|true or false'],
    ['disableTouch', [], wrongType, 'boolean|true or false'],

    ['serializer', 'json', wrongType, 'parse.*stringify'],
    ['serializer', 17, wrongType, 'parse.*stringify'],
    ['serializer', {}, wrongType, 'parse.*stringify'],
    ['serializer', { parse: JSON.parse }, wrongType, 'stringify'],
    ['serializer', { stringify: JSON.stringify }, wrongType, 'parse'],
    ['serializer', { parse: JSON.parse, stringify: 'fast' }, wrongType, 'stringify'],

    ['url', 6379, wrongType, 'string'],
    ['url', {}, wrongType, 'string'],
    ['url', ['redis://127.0.0.1'], wrongType, 'string'],
    ['url', true, wrongType, 'string'],

    ['client', 'redis', wrongType, 'client'],
    ['client', 17, wrongType, 'client'],
    ['client', true, wrongType, 'client'],
    ['client', {}, wrongType, 'client'],
    ['client', [], wrongType, 'client'],
    ['client', { get() {}, set() {} }, wrongType, 'client'],
    ['client', Redis, wrongType, 'client'],
  ])('%s: %p', (option, value, expected, wanted) => {
    const error = refusal({ [option]: value });

    expect(error).toMatchObject(expected);
    expect(error.message).toContain(option);
    expect(error.message).toMatch(new RegExp(wanted));
  });
});

test.each(['redis://127.0.0.1:6379', 17, true, null, Symbol('options')])(
  'an argument that is no object of options is refused: %p',
  (argument) => {
    const error = refusal(argument);

    expect(error).toMatchObject(wrongType);
    expect(error.message).toMatch(/options/);
  },
);

test('client and url together are refused', async () => {
  const client = await openClient('ioredis6', redis.port);
  const error = refusal({ client, url: redis.server.url });

  expect(error).toMatchObject(wrongValue);
  expect(error.message).toMatch(/client/);
  expect(error.message).toMatch(/url/);
});

describe('a client whose settings cannot be read is not taken for one of localhost:', () => {
  const connects = (client) => refusal({ client, transport: 'native' });

  test('one that only looks like a mock of ioredis', () => {
    class _RedisMock {
      options = { data: {} };
      call() {}
    }
    expect(keepStore(new RedisStore({ client: new _RedisMock() })).transport).toBe('client');
    expect(connects(new _RedisMock())).toMatchObject({
      ...wrongValue,
      message: expect.stringMatching(/settings/),
    });
  });

  test('an ioredis client with a connector of its own', () => {
    const client = new Redis({ lazyConnect: true, Connector: class {} });
    expect(keepStore(new RedisStore({ client })).transport).toBe('client');
    expect(connects(client)).toMatchObject({ ...wrongValue, message: expect.stringMatching(/connector/i) });
  });
});

describe('a url that cannot be used is refused without its secrets:', () => {
  const secret = 's3cr3t';

  test.each([
    ['nothing', ''],
    ['no url', `not a url ${secret}`],
    ['no scheme', `user:${secret}@127.0.0.1:6379`],
    ['another scheme', `http://:${secret}@127.0.0.1`],
    ['no host', `redis://:${secret}@`],
    ['a port that is none', `redis://:${secret}@127.0.0.1:port`],
    ['a port beyond the last', `redis://:${secret}@127.0.0.1:65536`],
    ['a negative port', `redis://:${secret}@127.0.0.1:-1`],
    ['a database that is no number', `redis://:${secret}@127.0.0.1/sessions`],
    ['a negative database', `redis://:${secret}@127.0.0.1/-1`],
    ['a fraction of a database', `redis://:${secret}@127.0.0.1/1.5`],
    ['an IPv6 address that does not end', `redis://:${secret}@[::1`],
    ['a space in the host', `redis://:${secret}@local host`],
    ['percent signs that encode nothing', `redis://:${secret}%zz@127.0.0.1`],
    ['a socket without a path', `redis+unix://?pass=${secret}`],
    ['a socket with a database that is no number', `redis+unix:///tmp/redis.sock?db=x&pass=${secret}`],
  ])('%s', (_what, url) => {
    const error = refusal({ url });

    expect(error).toMatchObject(wrongValue);
    expect(error.message).toContain('url');
    expect(inspect(error, { showHidden: true })).not.toContain(secret);
  });
});

describe('a url that can be used', () => {
  test.each([
    ['a string', (url) => url],
    ['a URL', (url) => new URL(url)],
    ['with a database', (url) => `${url}/3`],
    ['with a slash at the end', (url) => `${url}/`],
    ['by the name of the host', (url) => url.replace('127.0.0.1', 'localhost')],
  ])('%s', async (_what, make) => {
    const url = make(redis.server.url);
    const store = keepStore(new RedisStore({ url }));

    expect(await store.set('abc', { user: 'ann' })).toBeNull();

    const database = String(url).endsWith('/3') ? 3 : 0;
    await redis.command('SELECT', database);
    try {
      expect(await redis.keys()).toEqual(['sess:abc']);
    } finally {
      await redis.command('SELECT', 0);
    }
  });
});

test('good values of every option are taken', () => {
  for (const options of [
    { prefix: '' },
    { prefix: '*' },
    { ttl: 0.5 },
    { ttl: 1e9 },
    { ttl: () => 1 },
    { scanCount: 1 },
    { scanCount: 100_000 },
    { disableTTL: true, disableTouch: true },
    { disableTTL: false, disableTouch: false },
    { serializer: JSON },
    { serializer: { parse: (text) => ({ text }), stringify: () => '' } },
    { url: redis.server.url },
  ]) {
    expect(keepStore(new RedisStore({ url: redis.server.url, ...options }))).toMatchObject({
      prefix: options.prefix ?? 'sess:',
    });
  }
});
