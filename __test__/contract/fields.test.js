'use strict';

const { useRedis } = require('../support/redis.js');
const { clientKinds, closeAll, openClient, openStore, keepStore } = require('../support/stores.js');
const { liveSession } = require('../support/sessions.js');
const { RedisStore } = require('../..');

// The slow log records every command, which shows the arguments of SCAN.
const redis = useRedis({ args: ['--slowlog-log-slower-than', '0'] });
afterEach(closeAll);

const withoutExpiry = liveSession('abc', {}, { maxAge: null });

test('the fields have the defaults of connect-redis', async () => {
  const store = await openStore('url', redis.port);

  expect(store.client).toBeUndefined();
  expect(store.prefix).toBe('sess:');
  expect(store.ttl).toBe(86_400);
  expect(store.scanCount).toBe(100);
  expect(store.serializer).toBe(JSON);
  expect(store.disableTTL).toBe(false);
  expect(store.disableTouch).toBe(false);
});

test('the fields have the values of the options', async () => {
  const options = {
    prefix: 'shop:',
    ttl: () => 60,
    scanCount: 7,
    serializer: { parse: JSON.parse, stringify: JSON.stringify },
    disableTTL: true,
    disableTouch: true,
  };
  const store = await openStore('url', redis.port, options);

  for (const [name, value] of Object.entries(options)) expect(store[name]).toBe(value);
});

test.each(clientKinds)('`client` is the %s client of the options', async (kind) => {
  const client = await openClient(kind, redis.port);

  expect(keepStore(new RedisStore({ client })).client).toBe(client);
});

test.each([
  ['prefix', 'sess:'],
  ['ttl', 86_400],
  ['scanCount', 100],
  ['serializer', JSON],
  ['disableTTL', false],
  ['disableTouch', false],
])('the field %s has its default when the option is undefined or null', async (name, value) => {
  for (const nothing of [undefined, null]) {
    const store = await openStore('url', redis.port, { [name]: nothing });
    expect(store[name]).toBe(value);
  }
});

describe('a field that is changed on a live store', () => {
  let store;
  beforeEach(async () => {
    store = await openStore('url', redis.port);
    await store.set('abc', withoutExpiry);
  });

  test('a changed `prefix` applies to later operations', async () => {
    store.prefix = 'shop:';

    expect(store.prefix).toBe('shop:');
    expect(await store.get('abc')).toBeNull();
    await store.set('def', withoutExpiry);
    expect(await redis.keys()).toEqual(['sess:abc', 'shop:def']);
    expect(await store.ids()).toEqual(['def']);
    expect(await store.length()).toBe(1);
    await store.clear();
    expect(await redis.keys()).toEqual(['sess:abc']);
  });

  test('a changed `prefix` does not apply to operations in flight', async () => {
    const [, old, oldIds] = await (() => {
      const issued = [store.set('def', withoutExpiry), store.get('abc'), store.ids()];
      store.prefix = 'shop:';
      return Promise.all([...issued, store.set('ghi', withoutExpiry)]);
    })();

    expect(old).not.toBeNull();
    expect(oldIds.sort()).toEqual(['abc', 'def']);
    expect(await redis.keys()).toEqual(['sess:abc', 'sess:def', 'shop:ghi']);
  });

  test('a changed `ttl` applies to later operations, as a number and as a function', async () => {
    store.ttl = 600;
    await store.set('abc', withoutExpiry);
    expect(await redis.lifetime('sess:abc')).toBeLessThanOrEqual(600_000);
    expect(await redis.lifetime('sess:abc')).toBeGreaterThan(500_000);

    store.ttl = () => 60;
    await store.set('abc', withoutExpiry);
    expect(await redis.lifetime('sess:abc')).toBeLessThanOrEqual(60_000);
    expect(await redis.lifetime('sess:abc')).toBeGreaterThan(30_000);

    store.ttl = 600;
    await store.touch('abc', withoutExpiry);
    expect(await redis.lifetime('sess:abc')).toBeGreaterThan(500_000);
  });

  test('a changed `serializer` applies to later operations', async () => {
    store.serializer = {
      stringify: (session) => `v2:${JSON.stringify(session)}`,
      parse: (text) => JSON.parse(text.slice(3)),
    };
    await store.set('abc', { user: 'ann' });

    expect(String(await redis.command('GET', 'sess:abc'))).toBe('v2:{"user":"ann"}');
    expect(await store.get('abc')).toEqual({ user: 'ann' });
    expect(await store.all()).toEqual([{ user: 'ann', id: 'abc' }]);
  });

  test('a changed `scanCount` applies to later scans', async () => {
    store.scanCount = 23;
    await store.ids();

    expect(store.scanCount).toBe(23);
    expect(await lastScanCount()).toBe('23');
  });

  test('a changed `disableTouch` applies to later touches', async () => {
    await redis.command('PEXPIRE', 'sess:abc', 60_000);
    store.disableTouch = true;
    await store.touch('abc', withoutExpiry);
    expect(await redis.lifetime('sess:abc')).toBeLessThanOrEqual(60_000);

    store.disableTouch = false;
    await store.touch('abc', withoutExpiry);
    expect(await redis.lifetime('sess:abc')).toBeGreaterThan(60_000);
  });

  test('a changed `disableTTL` applies to later sets', async () => {
    store.disableTTL = true;
    await store.set('abc', withoutExpiry);
    expect(await redis.lifetime('sess:abc')).toBe(-1);

    store.disableTTL = false;
    await store.set('abc', withoutExpiry);
    expect(await redis.lifetime('sess:abc')).toBeGreaterThan(0);
  });

  test.each([
    ['prefix', 17, 'TypeError', 'ERR_INVALID_ARG_TYPE'],
    ['ttl', '60 s', 'TypeError', 'ERR_INVALID_ARG_TYPE'],
    ['ttl', Number.NaN, 'RangeError', 'ERR_OUT_OF_RANGE'],
    ['serializer', {}, 'TypeError', 'ERR_INVALID_ARG_TYPE'],
    ['scanCount', '0x64', 'TypeError', 'ERR_INVALID_ARG_TYPE'],
    ['scanCount', -1, 'RangeError', 'ERR_OUT_OF_RANGE'],
    ['disableTouch', 'no', 'TypeError', 'ERR_INVALID_ARG_TYPE'],
    ['disableTTL', 1, 'TypeError', 'ERR_INVALID_ARG_TYPE'],
  ])('setting %s to %p throws and changes nothing', (field, value, name, code) => {
    const before = store[field];

    const error = thrownBy(() => {
      store[field] = value;
    });

    expect(error).toMatchObject({ name, code, message: expect.stringContaining(field) });
    expect(store[field]).toBe(before);
  });

  test.each([
    ['prefix', 'sess:'],
    ['ttl', 86_400],
    ['scanCount', 100],
    ['serializer', JSON],
    ['disableTTL', false],
    ['disableTouch', false],
  ])('setting %s to undefined restores the default', (field, value) => {
    store[field] = undefined;
    expect(store[field]).toBe(value);
  });
});

function thrownBy(action) {
  try {
    action();
  } catch (error) {
    return error;
  }
  return undefined;
}

/** Returns the COUNT of the newest SCAN in Redis's slow log. */
async function lastScanCount() {
  const entries = await redis.command('SLOWLOG', 'GET', 100);
  const scan = entries
    .map(([, , , args]) => args.map(String))
    .find(([name]) => name.toUpperCase() === 'SCAN');
  return scan[scan.findIndex((arg) => arg.toUpperCase() === 'COUNT') + 1];
}
