'use strict';

const { AsyncLocalStorage } = require('node:async_hooks');
const session = require('express-session');
const { RedisStore } = require('../..');
const { useRedis } = require('../support/redis.js');
const { liveSession } = require('../support/sessions.js');
const { closeAll, keepStore, openStore, styles } = require('../support/stores.js');

const redis = useRedis();
afterEach(closeAll);

const tenants = new AsyncLocalStorage();
/** Throws outside a request, as an app's own accessor does. */
const tenant = () => tenants.getStore().name;
const as = (name, run) => tenants.run({ name }, run);
const prefix = () => `${tenant()}:`;

const own = (options) => openOwn(options, (store) => Object.defineProperty(store, 'prefix', { get: prefix }));

async function openOwn(options, define) {
  const store = await openStore('url', redis.port, options);
  await define(store);
  return store;
}

/** Ways to make the prefix follow the tenant of the request. */
const ways = {
  'an accessor defined on the store': own,
  'an accessor defined after the first operation': (options) =>
    openOwn(options, async (store) => {
      await store.get('one');
      Object.defineProperty(store, 'prefix', { get: prefix, configurable: true });
    }),
  'an accessor of a subclass': (options) => {
    class TenantStore extends RedisStore {
      get prefix() {
        return prefix();
      }
    }
    return keepStore(new TenantStore({ url: redis.server.url, ...options }));
  },
  'a Proxy': async (options) =>
    new Proxy(await openStore('url', redis.port, options), {
      get: (store, name, receiver) => (name === 'prefix' ? prefix() : Reflect.get(store, name, receiver)),
    }),
};

const kinds = [{}, { cache: true }, { onConflict: 'reject' }, { touchAfter: 60 }];

describe.each(Object.entries(ways))('the prefix is %s', (_way, open) => {
  describe.each(kinds)('with %j', (options) => {
    test.each(Object.entries(styles))(
      'no tenant reads the session of another when the prefix is an accessor (%s)',
      async (_style, call) => {
        const store = await open(options);
        await as('a', () => call(store, 'set', 'one', { cookie: {}, of: 'a' }));

        expect(await as('b', () => call(store, 'get', 'one'))).toBeNull();
        await as('b', () => call(store, 'set', 'one', { cookie: {}, of: 'b' }));

        for (let round = 0; round < 3; round++)
          for (const name of ['a', 'b'])
            expect(await as(name, () => call(store, 'get', 'one'))).toMatchObject({ of: name });
        expect(await redis.keys()).toEqual(['a:one', 'b:one']);
      },
    );

    test('operations of many tenants in one tick use the prefix of their tenant', async () => {
      const store = await open(options);
      const names = Array.from({ length: 60 }, (_, n) => `t${n % 20}`);
      await Promise.all(names.map((name) => as(name, () => store.set('one', { cookie: {}, of: name }))));

      const found = await Promise.all(names.map((name) => as(name, () => store.get('one'))));

      expect(found.map(({ of }) => of)).toEqual(names);
      await Promise.all(names.map((name, n) => as(name, () => n % 3 || store.destroy('one'))));
      const left = names.filter((name) => !names.some((other, n) => other === name && n % 3 === 0));
      expect(await redis.keys()).toEqual([...new Set(left)].map((name) => `${name}:one`).sort());
    });

    test('`ids`, `length`, `all`, `scan` and `clear` work on the sessions of the calling tenant', async () => {
      const store = await open(options);
      for (const [name, id] of ['a1', 'a2', 'b3'])
        await as(name, () => store.set(id, { cookie: {}, of: name }));
      const scanned = async () => {
        const ids = [];
        for await (const { id } of store.scan()) ids.push(id);
        return ids.sort();
      };

      const seen = await Promise.all(
        ['a', 'b'].map((name) =>
          as(name, async () => [(await store.ids()).sort(), await store.length(), await scanned()]),
        ),
      );

      expect(seen).toEqual([
        [['1', '2'], 2, ['1', '2']],
        [['3'], 1, ['3']],
      ]);
      await as('a', () => store.clear());
      expect(await redis.keys()).toEqual(['b:3']);
      expect(await as('b', () => store.all())).toMatchObject([{ id: '3', of: 'b' }]);
    });

    test('a logout of one tenant is final and leaves the session of another', async () => {
      const store = await open(options);
      const load = async (name) => {
        await as(name, () => store.set('one', liveSession('one', { of: name })));
        const loaded = await as(name, () => store.get('one'));
        return as(name, () => store.createSession({ sessionID: 'one' }, loaded));
      };
      store.generate = () => {};
      const [a, b] = [await load('a'), await load('b')];

      await as('a', () => store.destroy('one'));
      await as('b', () => store.get('one'));
      await as('a', () => store.set('one', a));
      await as('b', () => store.set('one', b));

      expect(await redis.keys()).toEqual(['b:one']);
    });
  });
});

test('regenerate replaces the session of its own tenant, whichever tenant had the last operation', async () => {
  const store = await own();
  session({ store, secret: 'test', resave: false, saveUninitialized: false });
  const request = { sessionStore: store, headers: {}, originalUrl: '/' };

  const outcome = await as('b', async () => {
    store.generate(request);
    const replaced = request.session;
    await as('a', () => store.get('one'));
    await new Promise((resolve) => replaced.regenerate(resolve));
    return store.set(replaced.id, replaced);
  });

  expect(outcome).toBe('discarded');
  expect(await redis.command('DBSIZE')).toBe(0);
});

test('regenerate reports an error to its callback when the prefix accessor throws', async () => {
  const store = await own();
  session({ store, secret: 'test', resave: false, saveUninitialized: false });
  const request = { sessionStore: store, headers: {}, originalUrl: '/' };
  store.generate(request);

  const error = await new Promise((resolve) => request.session.regenerate(resolve));

  expect(error).toBeInstanceOf(TypeError);
});

test('an operation rejects when the prefix accessor throws, and later operations work', async () => {
  const store = await own();

  for (const call of Object.values(styles))
    for (const [method, ...args] of [['get', 'one'], ['set', 'one', {}], ['ids'], ['clear']])
      await expect(call(store, method, ...args)).rejects.toThrow(TypeError);
  expect(await as('a', () => store.set('one', { cookie: {} }))).toBeNull();
  expect(await redis.keys()).toEqual(['a:one']);
});

test("operations of a copy reject when the copy's prefix accessor throws, and those of the store work", async () => {
  const store = await openStore('url', redis.port);
  const copy = Object.create(store, { prefix: { get: prefix } });

  for (let round = 0; round < 2; round++) {
    await expect(copy.get('one')).rejects.toThrow(TypeError);
    await store.set('one', { cookie: {} });
  }

  expect(await redis.keys()).toEqual(['sess:one']);
});

test('`set` rejects with ERR_INVALID_ARG_TYPE when the prefix accessor returns undefined', async () => {
  const store = await openStore('url', redis.port);
  Object.defineProperty(store, 'prefix', { get: () => tenants.getStore()?.name });

  await expect(store.set('one', { cookie: {} })).rejects.toMatchObject({
    code: 'ERR_INVALID_ARG_TYPE',
    message: expect.stringContaining('"prefix"'),
  });
  expect(await redis.keys()).toEqual([]);
});

describe('other fields that are accessors', () => {
  test.each([
    ['before the first operation', false],
    ['after it', true],
  ])('a serializer accessor is read for each operation when it was defined %s', async (_when, isLate) => {
    const store = await openStore('url', redis.port);
    if (isLate) await store.get('one');
    const serializer = (name) => ({
      stringify: (session) => `${name}${JSON.stringify(session)}`,
      parse: (text) => (text.startsWith(name) ? JSON.parse(text.slice(1)) : { of: `not ${name}` }),
    });
    const serializers = { a: serializer('a'), b: serializer('b'), json: JSON };
    Object.defineProperty(store, 'serializer', { get: () => serializers[tenant()] });
    const names = ['a', 'b', 'json'];
    await Promise.all(names.map((of) => as(of, () => store.set(of, { cookie: {}, of }))));

    const [found, all] = await Promise.all([
      Promise.all(names.map((of) => as(of, () => store.get(of)))),
      as('a', () => store.all()),
    ]);

    expect(found.map(({ of }) => of)).toEqual(names);
    expect(all.map(({ id, of }) => `${id}: ${of}`).sort()).toEqual(['a: a', 'b: not a', 'json: not a']);
    expect(String(await redis.command('GET', 'sess:b'))).toMatch(/^b\{/);
  });

  test('a ttl accessor is read for each operation', async () => {
    const store = await openStore('url', redis.port);
    const lifetimes = { a: 60, b: () => 600, c: 6000 };
    Object.defineProperty(store, 'ttl', { get: () => lifetimes[tenant()] });
    await Promise.all(['a', 'b', 'c'].map((of) => as(of, () => store.set(of, { cookie: {}, of }))));

    for (const [of, ms] of Object.entries({ a: 60_000, b: 600_000, c: 6_000_000 })) {
      const left = await redis.lifetime(`sess:${of}`);
      expect(left).toBeLessThanOrEqual(ms);
      expect(left).toBeGreaterThan(ms - 30_000);
      expect(await as(of, () => store.get(of))).toMatchObject({ of });
    }
  });

  test('disableTTL and disableTouch accessors are read for each operation', async () => {
    const store = await openStore('url', redis.port, { ttl: 60 });
    Object.defineProperty(store, 'disableTTL', { get: () => tenant() === 'a' });
    Object.defineProperty(store, 'disableTouch', { get: () => tenant() === 'b' });
    await Promise.all(['a', 'b'].map((of) => as(of, () => store.set(of, { cookie: {}, of }))));
    expect(await redis.lifetime('sess:a')).toBe(-1);
    expect(await redis.lifetime('sess:b')).toBeGreaterThan(0);
    await redis.command('PEXPIRE', 'sess:b', 20_000);

    await as('b', () => store.touch('b', { cookie: {} }));
    expect(await redis.lifetime('sess:b')).toBeLessThanOrEqual(20_000);
    await as('c', () => store.touch('b', { cookie: {} }));
    expect(await redis.lifetime('sess:b')).toBeGreaterThan(20_000);
  });

  test('a scanCount accessor is read for each operation', async () => {
    const store = await openStore('url', redis.port);
    await redis.command('MSET', ...Array.from({ length: 900 }, (_, n) => [`sess:${n}`, '{}']).flat());
    Object.defineProperty(store, 'scanCount', { get: () => Number(tenant()) });

    await as('1000', () => store.ids());
    expect(await redis.calls('scan')).toBeLessThan(5);
    await as('10', () => store.ids());
    expect(await redis.calls('scan')).toBeGreaterThan(50);
  });

  test('an operation rejects with the name of the field when an accessor returns an invalid value', async () => {
    const store = await openStore('url', redis.port);
    Object.defineProperty(store, 'ttl', { get: () => 'long' });

    await expect(store.set('one', { cookie: {} })).rejects.toMatchObject({
      code: 'ERR_INVALID_ARG_TYPE',
      message: expect.stringContaining('"ttl"'),
    });
  });
});

/** Functions of an app that run in the middle of a save, as options that call `run`. */
const functions = {
  ttl: (run) => ({ ttl: () => run() ?? 60 }),
  serializer: (run) => ({
    serializer: { stringify: (value) => run() ?? JSON.stringify(value), parse: JSON.parse },
  }),
  userId: (run) => ({ userId: () => run() ?? 1 }),
  maxLifetime: (run) => ({ maxLifetime: () => run() ?? 60 }),
};

test.each(Object.entries(functions))(
  'a save and a touch keep their prefix when the function %s calls the store with another one',
  async (_name, options) => {
    let other;
    const store = await openStore('url', redis.port, {
      prefix: 'a:',
      ...options(() => void other?.get('none').catch(() => {})),
    });
    const one = liveSession('one', { of: 'a' });
    other = Object.create(store, { prefix: { value: 'b:' } });
    await store.set('one', one);
    expect((await redis.keys()).filter((key) => key.endsWith('one'))).toEqual(['a:one']);
    await redis.command('PEXPIRE', 'a:one', '30000');
    await store.touch('one', one);
    expect(await redis.lifetime('a:one')).toBeGreaterThan(30_000);
    expect(await other.get('one')).toBeNull();
    expect((await store.get('one')).of).toBe('a');
  },
);
