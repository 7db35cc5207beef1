'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { rootCertificates } = require('node:tls');
const { inspect } = require('node:util');
const Redis = require('ioredis');
const { RedisStore } = require('../..');
const { OPTIONS } = require('../../lib/options.js');
const { useRedis } = require('../support/redis.js');
const { closeAll, keepStore, openClient } = require('../support/stores.js');

const redis = useRedis();
afterEach(closeAll);

const SECRET = 's3cr3t';
const elsewhere = 'redis://127.0.0.1:1';
const sentinel = { name: 'mymaster', addresses: ['127.0.0.1:1'] };
const cluster = ['127.0.0.1:1'];

/** Returns what the constructor throws. */
function refusal(...args) {
  let store;
  try {
    store = new RedisStore(...args);
  } catch (error) {
    return error;
  }
  keepStore(store);
  throw new Error(`accepted: ${inspect(args, { depth: 1 })}`);
}

const wrongType = { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' };
const wrongValue = { name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' };
const outOfRange = { name: 'RangeError', code: 'ERR_OUT_OF_RANGE' };

describe('an invalid option', () => {
  test.each([
    ['prefix', 17, wrongType, 'string'],
    ['prefix', true, wrongType, 'string'],
    ['prefix', {}, wrongType, 'string'],
    ['prefix', ['sess:'], wrongType, 'string'],
    ['prefix', Buffer.from('sess:'), wrongType, 'string'],
    ['prefix', Symbol('sess:'), wrongType, 'string'],
    ['prefix', () => 'sess:', wrongType, 'string'],

    ['ttl', 'abc', wrongType, 'number'],
    ['ttl', '86400s', wrongType, 'number'],
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

    ['sessionHashKey', 17, wrongType, 'string'],
    ['sessionHashKey', '', wrongType, 'string'],
    ['sessionHashKey', Buffer.from('key'), wrongType, 'string'],

    ['scanCount', '1e2', wrongType, 'number'],
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
    ['disableTouch', 'no', wrongType, 'boolean|true or false'],
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
  ])(
    'the constructor names the option and what was expected, for %s: %p',
    (option, value, expected, wanted) => {
      const error = refusal({ [option]: value });

      expect(error).toMatchObject(expected);
      expect(error.message).toContain(option);
      expect(error.message).toMatch(new RegExp(wanted));
    },
  );
});

test.each(['redis://127.0.0.1:6379', 17, true, null, Symbol('options')])(
  'the constructor rejects an argument that is not an object of options: %p',
  (argument) => {
    const error = refusal(argument);

    expect(error).toMatchObject(wrongType);
    expect(error.message).toMatch(/options/);
  },
);

describe('secrets in options', () => {
  const withPassword = `redis://user:${SECRET}@10.0.0.1:6379`;
  const client = () => new Redis({ lazyConnect: true, password: SECRET });

  test.each([
    ['cluster', () => ({ cluster: [withPassword] })],
    ['cluster', () => ({ cluster: [`${SECRET}@10.0.0.1:6379`] })],
    ['cluster', () => ({ cluster: [{ host: withPassword }] })],
    ['cluster', () => ({ cluster: [{ host: '10.0.0.1', port: SECRET }] })],
    ['cluster', () => ({ cluster: [{ host: '10.0.0.1', port: Object.create(null) }] })],
    ['cluster', () => ({ cluster: { [withPassword]: {} } })],
    ['cluster.addresses', () => ({ cluster: { addresses: [withPassword] } })],
    ['sentinel.addresses', () => ({ sentinel: { ...sentinel, addresses: [withPassword] } })],
    ['sentinel.natMap', () => ({ sentinel: { ...sentinel, natMap: { [withPassword]: 'h:1' } } })],
    ['cluster.natMap', () => ({ cluster: { addresses: cluster, natMap: { 'h:1': withPassword } } })],
    ['database', () => ({ sentinel, database: SECRET })],
    ['password', () => ({ sentinel, password: [SECRET] })],
    ['sessionHashKey', () => ({ sessionHashKey: [SECRET] })],
    ...['transport', 'readFrom', 'onUnavailable', 'onConflict'].flatMap((option) => [
      [option, () => ({ [option]: client() })],
      [option, () => ({ [option]: withPassword })],
    ]),
    ['url', () => ({ url: `${SECRET}:6379` })],
  ])('the error about "%s" does not show a value that may be secret, from %s', (option, options) => {
    const error = refusal(options());

    expect(error).toBeInstanceOf(error.code === 'ERR_OUT_OF_RANGE' ? RangeError : TypeError);
    expect(error.code).toMatch(/^ERR_(INVALID_ARG_|OUT_OF_RANGE)/);
    expect(error.message).toContain(`"${option}"`);
    expect(inspect(error, { showHidden: true })).not.toContain(SECRET);
  });

  test('the error about a field whose name contains a password does not show it', () => {
    const { message } = refusal({ cluster: { [withPassword]: {} } });
    expect(message).toBe(
      'The "cluster" option has an unknown field: "cluster" has the fields addresses, natMap',
    );
  });

  test('the error about a numeric password does not show it', () => {
    const { message } = refusal({ sentinel, password: 123456 });
    expect(message).toBe(
      'The "password" option must be a string that is not empty; received an instance of Number',
    );
  });

  test('the error about an unknown word shows it', () => {
    expect(refusal({ readFrom: 'replica' }).message).toMatch(/'replica-preferred'; received 'replica'$/);
  });
});

describe('an option that would be ignored', () => {
  const { url } = { url: elsewhere };
  const inUrl = /redis:\/\/user:password@host:6379\/5/;

  test.each([
    ['database', { url, database: 5 }, inUrl],
    ['database', { database: 5 }, inUrl],
    ['database', { database: 'abc' }, inUrl],
    ['username', { url, username: 'ann' }, inUrl],
    ['password', { url, password: 'pw' }, inUrl],
    ['password', { password: 'pw' }, inUrl],
    ['db', { url, db: 5 }, inUrl],
    ['db', { db: 5 }, inUrl],
    ['pass', { url, pass: 'pw' }, inUrl],
    ['host', { url, host: 'redis.example' }, inUrl],
    ['port', { port: 6380 }, inUrl],
    ['socket', { url, socket: '/run/redis.sock' }, /redis\+unix:/],
    ['db', { sentinel, db: 5 }, /"database"/],
    ['pass', { cluster, pass: 'pw' }, /"password"/],
    ['host', { sentinel, host: 'redis.example' }, /"sentinel"/],
    ['sentinel', { url, sentinel }, /"url"/],
    ['cluster', { url, cluster }, /"url"/],
    ['cluster', { sentinel, cluster }, /"sentinel"/],
    ['password', { sentinel, password: 'pw', credentials: () => ({}) }, /"credentials"/],
    ['username', { cluster, username: 'ann', credentials: () => ({}) }, /"credentials"/],
    ['cluster.password', { cluster: { addresses: cluster, password: 'pw' } }, /addresses, natMap/],
    ['sentinel.database', { sentinel: { ...sentinel, database: 5 } }, /name, addresses/],
    ['sentinel.password', { sentinel: { ...sentinel, username: 'ann' } }, /"sentinel.username"/],
    ['readFrom', { url, readFrom: 'replica-preferred' }, /cluster/],
    ['readFrom', { readFrom: 'replica-preferred' }, /cluster/],
    ['readFrom', { sentinel, readFrom: 'replica-preferred' }, /cluster/],
    ['tls', { url: 'rediss://127.0.0.1:1', tls: false }, /rediss:/],
    ['tls.passphrase', { url, tls: { passphrase: 'pw' } }, /is not supported/],
    ['tls.checkServerIdentity', { url, tls: { checkServerIdentity() {} } }, /is not supported/],
    ['url', { url: `${url}?db=5` }, /redis:\/\/host:6379\/5/],
    ['url', { url: `${url}/1?db=5` }, /redis:\/\/host:6379\/5/],
    ['url', { url: `${url}#5` }, /#/],
    ['url', { url: 'redis+unix:///run/a#b.sock' }, /#/],
    ['url', { url: 'redis+sentinel://h:1/mymaster?db=5' }, /\?/],
    ['url', { url: 'redis+cluster://h:1?db=5' }, /\?/],
  ])('the constructor rejects "%s" in %o and says what to do', (option, options, advice) => {
    const error = refusal(options);

    expect(error).toMatchObject(wrongValue);
    expect(error.message).toContain(`"${option}"`);
    expect(error.message).toMatch(advice);
  });

  test.each([
    ['1e12', 1e12],
    ['-1', -1],
    ['a half', 0.5],
  ])('the constructor rejects an impossible database: %s', (_what, database) => {
    const error = refusal({ sentinel, database });
    expect(error).toMatchObject(outOfRange);
    expect(error.message).toMatch(/"database".*4294967295/);
  });

  test.each([
    ['1e12', 1e12],
    ['not a number', 'abc'],
  ])('the constructor rejects a client whose database is %s', (_what, db) => {
    const error = refusal({ client: new Redis({ lazyConnect: true, db }) });
    expect(error).toMatchObject(wrongValue);
    expect(error.message).toMatch(/"client".*database/);
  });
});

test.each([
  ['client', 'url', { client: {}, url: elsewhere }],
  ['url', 'cluster', { url: elsewhere, cluster }],
  ['url', 'database', { url: elsewhere, database: 5 }],
  ['sentinel', 'cluster', { sentinel, cluster }],
  ['credentials', 'password', { sentinel, password: 'pw', credentials: () => ({}) }],
  ['onConflict', 'serializer', { onConflict: 'merge', serializer: { parse() {}, stringify() {} } }],
  ['cache', 'readFrom', { cluster, cache: true, readFrom: 'replica-preferred' }],
])('"%s" and "%s" cannot be combined', (option, other, options) => {
  const error = refusal(options);

  expect(error).toMatchObject(wrongValue);
  const text = `The "${option}" and "${other}" options cannot be combined: `;
  expect(error.message.slice(0, text.length)).toBe(text);
});

test.each([
  ['of another type', { ttl: 'soon' }, '; received a string'],
  ['out of range', { ttl: -1 }, '; received -1'],
])('what is expected of an option is the same for a value %s', (_how, options, received) => {
  expect(refusal(options).message).toBe(
    'The "ttl" option must be a number of seconds above 0 (for sessions without a lifetime, set "disableTTL"), ' +
      `or a function that returns one${received}`,
  );
});

test('null and undefined mean that an option is left out', () => {
  const names = ['client', 'url', 'sentinel', 'cluster', 'username', 'password', 'database', 'readFrom']
    .concat(['transport', 'tls', 'credentials', 'connectTimeout', 'commandTimeout', 'maxQueue', 'cache'])
    .concat(['onUnavailable', 'prefix', 'ttl', 'disableTouch', 'disableTTL', 'serializer', 'scanCount'])
    .concat(['onConflict', 'touchAfter', 'saveDestroyed', 'idleTimeout', 'maxLifetime', 'createdAtKey'])
    .concat(['host', 'port', 'socket', 'db', 'pass']);
  for (const nothing of [null, undefined]) {
    const left = Object.fromEntries(names.map((name) => [name, nothing]));
    const { client, ...others } = left;
    expect(keepStore(new RedisStore(others))).toMatchObject({ prefix: 'sess:', ttl: 86400, scanCount: 100 });
    for (const place of [{ url: elsewhere }, { sentinel }, { cluster }])
      keepStore(new RedisStore({ ...left, ...place }));
  }
});

test('options that older versions of connect-redis accepted in addition to a client are ignored, as there', () => {
  const client = new Redis({ port: redis.port, lazyConnect: true });
  keepStore(new RedisStore({ client, host: 'localhost', port: 6379, ttl: 260 }));
});

test('the constructor rejects client and url together', async () => {
  const client = await openClient('ioredis6', redis.port);
  const error = refusal({ client, url: redis.server.url });

  expect(error).toMatchObject(wrongValue);
  expect(error.message).toMatch(/client/);
  expect(error.message).toMatch(/url/);
});

describe('a client whose settings cannot be read', () => {
  const connects = (client) => refusal({ client, transport: 'native' });

  test('a client that only looks like a mock of ioredis uses the client transport and rejects the native one', () => {
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

  test('an ioredis client with its own connector uses the client transport and rejects the native one', () => {
    const client = new Redis({ lazyConnect: true, Connector: class {} });
    expect(keepStore(new RedisStore({ client })).transport).toBe('client');
    expect(connects(client)).toMatchObject({ ...wrongValue, message: expect.stringMatching(/connector/i) });
  });
});

describe('an invalid url', () => {
  const secret = SECRET;

  test.each([
    ['nothing', ''],
    ['not a url', `not a url ${secret}`],
    ['no scheme', `user:${secret}@127.0.0.1:6379`],
    ['another scheme', `http://:${secret}@127.0.0.1`],
    ['no host', `redis://:${secret}@`],
    ['a port that is not a number', `redis://:${secret}@127.0.0.1:port`],
    ['a port beyond the last', `redis://:${secret}@127.0.0.1:65536`],
    ['a negative port', `redis://:${secret}@127.0.0.1:-1`],
    ['a database that is not a number', `redis://:${secret}@127.0.0.1/sessions`],
    ['a negative database', `redis://:${secret}@127.0.0.1/-1`],
    ['a fraction of a database', `redis://:${secret}@127.0.0.1/1.5`],
    ['an IPv6 address that does not end', `redis://:${secret}@[::1`],
    ['a space in the host', `redis://:${secret}@local host`],
    ['percent signs that encode nothing', `redis://:${secret}%zz@127.0.0.1`],
    ['a socket without a path', `redis+unix://?pass=${secret}`],
    ['a socket with a database that is not a number', `redis+unix:///tmp/redis.sock?db=x&pass=${secret}`],
  ])('the constructor rejects a url without showing its secrets: %s', (_what, url) => {
    const error = refusal({ url });

    expect(error).toMatchObject(wrongValue);
    expect(error.message).toContain('url');
    expect(inspect(error, { showHidden: true })).not.toContain(secret);
  });
});

describe('a valid url', () => {
  test.each([
    ['a string', (url) => url],
    ['a URL', (url) => new URL(url)],
    ['with a database', (url) => `${url}/3`],
    ['with a slash at the end', (url) => `${url}/`],
    ['by the name of the host', (url) => url.replace('127.0.0.1', 'localhost')],
  ])('the store connects by a url: %s', async (_what, make) => {
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

test('the examples of docs/clients.md for stores without a client work', () => {
  const text = fs.readFileSync(path.join(__dirname, '..', '..', 'docs', 'clients.md'), 'utf8');
  const [, code] = /## Without a client\n\n```js\n(.*?)```/s.exec(text);
  let made = 0;
  class Kept extends RedisStore {
    constructor(options) {
      super(options);
      keepStore(this);
      made++;
    }
  }
  const given = {
    ...{ RedisStore: Kept, username: 'app', password: SECRET },
    ...{ ofTheSentinels: SECRET, ca: rootCertificates[0] },
  };

  new Function(...Object.keys(given), code)(...Object.values(given));

  expect(made).toBe(code.split('new RedisStore(').length - 1);
});

test('the constructor accepts valid values of every option', () => {
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

test('the types have the options of the table, with their defaults', () => {
  const types = fs.readFileSync(path.join(__dirname, '..', '..', 'index.d.ts'), 'utf8');
  const [, body] = /\nexport interface RedisStoreOptions[^\n]* \{\n(.*?)\n\}/s.exec(types);
  const documented = {};
  let byDefault;
  for (const line of body.split('\n')) {
    byDefault = /@default (.*?)( \*\/)?$/.exec(line)?.[1] ?? byDefault;
    const [, option] = /^ {2}(\w+)\??:/.exec(line) ?? [];
    if (option === undefined) continue;
    documented[option] = byDefault;
    byDefault = undefined;
  }
  expect(Object.keys(documented).sort()).toEqual(Object.keys(OPTIONS).sort());
  for (const [option, rule] of Object.entries(OPTIONS)) {
    if (!['number', 'string', 'boolean'].includes(typeof rule.default)) continue;
    // The field reads 100, as in connect-redis; scans use 1000 until the app sets it.
    const inForce = option === 'scanCount' ? 1000 : rule.default;
    const shown = typeof inForce === 'string' ? `'${inForce}'` : String(inForce);
    expect([option, documented[option]]).toEqual([
      option,
      expect.stringMatching(new RegExp(`(^|else )${shown}$`)),
    ]);
  }
});
