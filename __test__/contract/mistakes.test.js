'use strict';

const Redis = require('ioredis');
const { RedisStore } = require('../..');
const { useRedis } = require('../support/redis.js');
const { closeAll, keepStore } = require('../support/stores.js');

const redis = useRedis();
const url = 'redis://127.0.0.1:1';
const sentinel = { name: 'mymaster', addresses: ['127.0.0.1:1'] };
const cluster = ['127.0.0.1:1'];
const newClient = () => new Redis({ port: redis.port, lazyConnect: true });

let warnings;

beforeEach(() => {
  warnings = [];
  jest
    .spyOn(process, 'emitWarning')
    .mockImplementation((message, { code }) => warnings.push({ code, message }));
});
afterEach(async () => {
  jest.restoreAllMocks();
  await closeAll();
});

const create = (options) => keepStore(new RedisStore(options));

/** Returns what the constructor throws. */
function errorOf(options) {
  try {
    create(options);
  } catch (error) {
    return error;
  }
  throw new Error('The options were accepted.');
}

test.each([
  // Names that other libraries have for an address.
  [{ uri: url }, /"uri" option is unknown: did you mean "url", such as redis:/],
  [{ redisUrl: url }, /"redisUrl".*"url"/],
  [{ connectionString: url }, /"connectionString".*"url"/],
  [{ redisOptions: { host: 'h' } }, /"redisOptions".*"url"/],
  [{ redis: 'redis://h' }, /"redis".*"url"/],
  [{ host: 'h', port: 6380 }, /"host".*"url"/],
  [{ port: 6380 }, /"port".*"url"/],
  [{ hostname: 'h' }, /"hostname".*"url"/],
  [{ path: '/run/redis.sock' }, /"path".*"url".*redis\+unix:/],
  [{ socket: { host: 'h' } }, /"socket".*"url"/],
  [{ sentinels: [{ host: 'h' }], name: 'm' }, /"sentinels".*"sentinel"\?/],
  [{ rootNodes: [{ url }] }, /"rootNodes".*"cluster"\?/],
  [{ nodes: ['h:1'] }, /"nodes".*"cluster"\?/],
  [{ db: 5 }, /"db".*"url"/],
  [{ url, db: 5 }, /"db".*"url"/],
  [{ sentinel, db: 5 }, /"db".*"database"\?/],
  [{ cluster, pass: 'pw' }, /"pass".*"password"\?/],
  [{ cluster, user: 'ann' }, /"user".*"username"\?/],
  [{ password: 'pw' }, /"password".*"url"/],
  [{ database: 5 }, /"database".*"url"/],
  [{ redisClient: {} }, /"redisClient".*"client"\?/],

  // Typing errors.
  [{ clinet: {} }, /"clinet".*"client"\?/],
  [{ Client: {} }, /"Client".*"client"\?/],
  [{ Url: url }, /"Url".*"url"/],
  [{ urls: url }, /"urls".*"url"/],
  [{ sentinal: sentinel }, /"sentinal".*"sentinel"\?/],
  [{ clusters: cluster }, /"clusters".*"cluster"\?/],
  [{ prefex: 'p:' }, /"prefex".*"prefix"\?/],
  [{ keyPrefix: 'p:' }, /"keyPrefix".*"prefix"\?/],
  [{ disableTtl: true }, /"disableTtl".*"disableTTL"\?/],
  [{ disable_touch: true }, /"disable_touch".*"disableTouch"\?/],
  [{ touchafter: 60 }, /"touchafter".*"touchAfter"\?/],
  [{ TTL: 60 }, /"TTL".*"ttl"\?/],
  [{ maxAge: 60_000 }, /"maxAge".*"ttl"\?/],
  [{ serialiser: JSON }, /"serialiser".*"serializer"\?/],
  [{ onConflicts: 'merge' }, /"onConflicts".*"onConflict"\?/],
  [{ readForm: 'primary' }, /"readForm".*"readFrom"\?/],
  [{ commandTimeOut: 500 }, /"commandTimeOut".*"commandTimeout"\?/],
  [{ cahce: true }, /"cahce".*"cache"\?/],
  [{ tsl: true }, /"tsl".*"tls"\?/],
  [{ cache: { ttl: 60 } }, /"cache.ttl" option is unknown/],

  // Something else in place of the options or the client.
  [{ client: undefined }, /"client" option must be a client \(is it exported.*received undefined/],
  [{ client: null }, /"client".*received null/],
  [{ client: Promise.resolve() }, /"client".*an instance of Promise/],
  [{ client: url }, /"client".*a string/],
  [{ secret: 's', cookie: {} }, /argument of RedisStore.*"secret" is one of session\(\)/],
  [{ resave: false }, /"resave" is one of session\(\)/],
  [{ store: {} }, /"store" is one of session\(\)/],

  // Values.
  [{ url: '' }, /"url"/],
  [{ url: 'localhost:6379' }, /"url"/],
  [{ ttl: '1d' }, /"ttl"/],
  [{ prefix: 7 }, /"prefix"/],
  [{ serializer: {} }, /"serializer"/],
  [{ cache: 'yes' }, /"cache"/],
  [{ tls: { ca: '/etc/ca.pem' }, url }, /"tls.ca"/],
])('%o throws a TypeError that says what to use', (options, message) => {
  const error = errorOf(options);

  expect(error).toBeInstanceOf(TypeError);
  expect(error.code).toMatch(/^ERR_INVALID_ARG_(TYPE|VALUE)$/);
  expect(error.message).toMatch(message);
  expect(warnings).toEqual([]);
});

test('a typing error throws with a client, too', () => {
  expect(errorOf({ client: newClient(), prefex: 'p:' }).message).toMatch(/"prefex".*"prefix"\?/);
});

test.each([
  ['ttl: 86400000', { url, ttl: 86_400_000 }, 'REDIS_STORE_LONG_TTL', /"ttl".*in seconds.* 3 years/],
  ['an unknown option', { url, logErrors: true }, 'REDIS_STORE_UNKNOWN_OPTION', /"logErrors".*ignored$/],
  ['one that is no word', { url, 'redis://:hunter2@h': 1 }, 'REDIS_STORE_UNKNOWN_OPTION', /^An option of/],
])('%s results in a warning', (_what, options, code, message) => {
  create(options);

  expect(warnings).toEqual([{ code, message: expect.stringMatching(message) }]);
});

test('the options of old versions of connect-redis are ignored with a client, with a warning each', () => {
  for (let n = 0; n < 2; n++)
    create({ client: newClient(), host: 'h', port: 1, db: 2, keyPrefix: 'p:', resave: true });

  const ignored = (name, hint = '') => `The "${name}" option of RedisStore is unknown and ignored${hint}`;
  expect(warnings.map(({ message }) => message)).toEqual([
    ...['host', 'port', 'db'].map((name) => ignored(name)),
    ignored('keyPrefix', '; did you mean "prefix"?'),
    ignored('resave'),
  ]);
});

describe('a store that cannot connect', () => {
  const failures = () => warnings.filter(({ code }) => code === 'REDIS_STORE_UNREACHABLE');

  test('results in one warning per connection after the first failed attempt', async () => {
    const stores = [1, 2].map(() => create({ url, commandTimeout: 300 }));
    await Promise.all(stores.map((store) => expect(store.get('abc')).rejects.toThrow()));

    expect(failures()).toEqual([
      { code: 'REDIS_STORE_UNREACHABLE', message: expect.stringContaining('127.0.0.1:1') },
    ]);
  });

  test('results in no warning with a listener, or if requests then run without sessions', async () => {
    const listened = create({ url, commandTimeout: 301 });
    const errors = [];
    listened.once('error', (error) => errors.push(error));
    await expect(listened.get('abc')).rejects.toThrow();
    expect(errors).toHaveLength(1);
    const sessionless = create({ url, commandTimeout: 302, onUnavailable: 'sessionless' });
    await expect(sessionless.get('abc')).rejects.toThrow();

    expect(failures()).toEqual([]);
  });
});
