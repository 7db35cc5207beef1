'use strict';

const { inspect } = require('node:util');
const { RedisStore } = require('../..');
const { connectRaw, startRedis } = require('../support/redis.js');
const { closeAll, keepStore, served } = require('../support/stores.js');
const { NEVER_MS } = require('../support/until.js');

const SECRET = 's3cr3t';
/** An operation that ends by then did not wait for its deadline. */
const limits = { commandTimeout: NEVER_MS, connectTimeout: 300 };

let server;
let raw;
beforeAll(async () => {
  server = await startRedis({ args: ['--databases', '4', '--requirepass', SECRET] });
  raw = await connectRaw(server.port);
  expect(await raw.command('AUTH', SECRET)).toBe('OK');
});
afterEach(closeAll);
afterAll(async () => {
  await raw?.close();
  await server?.stop();
});

const open = (options) =>
  keepStore(new RedisStore({ url: `redis://127.0.0.1:${server.port}`, ...limits, ...options }));

function refusal(options) {
  let store;
  try {
    store = new RedisStore(options);
  } catch (error) {
    return error;
  }
  keepStore(store);
  throw new Error(`accepted: ${inspect(options)}`);
}

const failure = (store) => store.get('abc').catch((reason) => reason);

describe('invalid limits', () => {
  const wrongType = { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' };
  const outOfRange = { name: 'RangeError', code: 'ERR_OUT_OF_RANGE' };
  const MS = /milliseconds/;

  test.each([
    ...['connectTimeout', 'commandTimeout'].flatMap((option) => [
      [option, 'soon', wrongType, MS],
      [option, {}, wrongType, MS],
      [option, true, wrongType, MS],
      [option, 1000n, wrongType, MS],
      [option, 0, outOfRange, MS],
      [option, -1, outOfRange, MS],
      [option, 1.5, outOfRange, MS],
      [option, 2 ** 31, outOfRange, MS],
      [option, Number.NaN, outOfRange, MS],
      [option, Number.POSITIVE_INFINITY, outOfRange, MS],
    ]),
    ['maxQueue', 'ten', wrongType, /whole number/],
    ['maxQueue', [], wrongType, /whole number/],
    ['maxQueue', -1, outOfRange, /whole number/],
    ['maxQueue', 0.5, outOfRange, /whole number/],
    ['maxQueue', 2 ** 32, outOfRange, /whole number/],
    ['maxQueue', Number.NaN, outOfRange, /whole number/],
    ['credentials', 'user:password', wrongType, /function/],
    ['credentials', { password: 'x' }, wrongType, /function/],
  ])('the constructor rejects the limit %s: %p', (option, value, expected, wanted) => {
    const error = refusal({ [option]: value });
    expect(error).toMatchObject(expected);
    expect(error.message).toContain(`"${option}"`);
    expect(error.message).toMatch(wanted);
  });

  test('the constructor accepts the smallest and largest limits, null and undefined', () => {
    for (const value of [1, 2 ** 31 - 1, null, undefined])
      open({ connectTimeout: value, commandTimeout: value, maxQueue: value });
    open({ maxQueue: 0 });
  });
});

describe('a url with an invalid part', () => {
  const at = `:${SECRET}@127.0.0.1`;
  test.each([
    ['scheme', `rediss+srv://${at}`],
    ['scheme', `memcached://${at}`],
    ['host', `redis://:${SECRET}@%zz`],
    ['port', `redis://${at}:0`],
    ['port', `redis://${at}:65536`],
    ['port', `redis://${at}:6379a`],
    ['database', `redis://${at}/zero`],
    ['database', `redis://${at}/4294967296`],
    ['database', `redis://${at}/1/2`],
    ['user', `redis://%ff:${SECRET}@127.0.0.1`],
    ['password', `redis://:${SECRET}%ff@127.0.0.1`],
    ['path', `redis+unix://?pass=${SECRET}`],
    ['parameters', `redis+unix:///tmp/redis.sock?pass=${SECRET}&database=1`],
  ])('the constructor names the invalid %s of %s, without the password', (part, url) => {
    const error = refusal({ url });
    expect(error).toMatchObject({ name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' });
    expect(error.message).toContain('"url"');
    expect(error.message).toMatch(part === 'scheme' ? /redis:\/\/.*rediss:\/\// : new RegExp(part));
    expect(inspect(error, { showHidden: true })).not.toContain(SECRET);
  });
});

test('operations reject at once with the name of the database that the server does not have, until it has it', async () => {
  const other = await startRedis({ args: ['--databases', '2'] });
  try {
    const store = keepStore(new RedisStore({ url: `${other.url}/3`, ...limits }));
    const error = await failure(store);
    expect(error).toMatchObject({ code: 'ERR_REDIS_REPLY', reply: 'ERR' });
    expect(error.message).toContain(`redis://127.0.0.1:${other.port}/3`);
    expect(error.message).toMatch(/DB index is out of range/);

    // The server's owner adds databases.
    await other.kill();
    const larger = await startRedis({ port: other.port, args: ['--databases', '4'] });
    try {
      await served(store);
    } finally {
      await closeAll();
      await larger.stop();
    }
  } finally {
    await closeAll();
    await other.stop();
  }
});

describe('a credentials function', () => {
  const thrower = () => {
    throw new Error('the vault is sealed');
  };

  test.each([
    ['that throws', thrower, /Error: the vault is sealed/],
    ['that rejects', async () => thrower(), /Error: the vault is sealed/],
    ['that rejects with undefined', () => Promise.reject(), /undefined/],
    [
      'that rejects with an error that cannot be read',
      () => Promise.reject(Object.defineProperty(new Error(), 'message', { get: thrower })),
      /an error that cannot be read/,
    ],
    ['that returns undefined', () => undefined, /must return an object with a "password".*undefined/],
    ['that resolves to null', async () => null, /must return an object with a "password".*null/],
    ['that returns a string', () => SECRET, /must return an object with a "password".*a string/],
    ['that returns no password', () => ({ username: 'ann' }), /"password" must be a string/],
    ['whose password is a number', () => ({ password: 17 }), /"password" must be a string/],
    ['whose password is empty', () => ({ password: '' }), /"password" must be a string/],
    ['whose user is not a string', () => ({ username: {}, password: SECRET }), /"username" must be a string/],
    ['whose expiry is not a time', () => ({ password: SECRET, expiresAt: 'soon' }), /"expiresAt" must be/],
    [
      'whose expiry is an invalid date',
      () => ({ password: SECRET, expiresAt: new Date('soon') }),
      /"expiresAt" must be/,
    ],
    [
      'whose expiry is in seconds',
      () => ({ password: SECRET, expiresAt: Math.floor(Date.now() / 1000) + 3600 }),
      /"expiresAt" must be .*\(not seconds\)/,
    ],
  ])(
    'operations reject with ERR_CREDENTIALS at once for a credentials function %s, and succeed when it recovers',
    async (_what, bad, cause) => {
      let provide = bad;
      const store = open({ credentials: () => provide() });
      const error = await failure(store);
      expect(error).toMatchObject({ code: 'ERR_CREDENTIALS' });
      expect(error.message).toMatch(/^get failed: .*"credentials" function/);
      expect(error.message).toMatch(cause);
      expect(error.message).toContain(`127.0.0.1:${server.port}`);
      expect(inspect(error, { showHidden: true })).not.toContain(SECRET);

      provide = () => ({ password: SECRET });
      await served(store);
    },
  );

  test('a credentials function that hangs fails the attempt in time, and is called again', async () => {
    let asked = 0;
    let provide = () => new Promise(() => {});
    const store = open({
      credentials: () => {
        asked += 1;
        return provide();
      },
    });
    const error = await failure(store);
    expect(error).toMatchObject({ code: 'ERR_CREDENTIALS' });
    expect(error.message).toMatch(/it returned no credentials within 300 ms/);

    provide = () => ({ password: SECRET });
    await served(store);
    expect(asked).toBeGreaterThan(1);
  });

  test('a late result of a credentials function is ignored', async () => {
    const late = [];
    let provide = () => new Promise((resolve) => late.push(resolve));
    const store = open({ credentials: () => provide() });
    await failure(store);
    provide = () => ({ password: SECRET });
    for (const resolve of late) resolve({ password: 'wrong' });
    await served(store);
    await store.set('abc', { n: 1 });
    expect(await store.get('abc')).toEqual({ n: 1 });
  });

  test('the credentials function is not called while the connection is open', async () => {
    let asked = 0;
    const store = open({
      credentials: () => {
        asked += 1;
        return { password: SECRET };
      },
    });
    for (let n = 0; n < 50; n++) await store.get('abc');
    expect(asked).toBe(1);
  });

  test('an operation rejects with WRONGPASS, without the password, when the credentials function returns a wrong one', async () => {
    const error = await failure(open({ credentials: () => ({ password: 'wr0ng-pw' }) }));
    expect(error).toMatchObject({ code: 'ERR_REDIS_REPLY', reply: 'WRONGPASS' });
    expect(inspect(error, { showHidden: true })).not.toContain('wr0ng-pw');
  });
});
