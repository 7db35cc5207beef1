'use strict';

const { RedisStore } = require('../..');
const { useRedis } = require('../support/redis.js');
const { closeAll, keepStore, recordCalls, styles } = require('../support/stores.js');
const { liveSession } = require('../support/sessions.js');

const redis = useRedis();
afterEach(closeAll);

const open = (Store, options) => keepStore(new Store({ url: `redis://127.0.0.1:${redis.port}`, ...options }));

describe.each(Object.entries(styles))('a subclass called in %s style', (_style, call) => {
  test('a subclass can override `get`, `set` and `destroy` and pass the callback on', async () => {
    class AuditedStore extends RedisStore {
      audit = [];
      get(id, callback) {
        this.audit.push(['get', id]);
        return super.get(id, callback);
      }
      set(id, session, callback) {
        this.audit.push(['set', id]);
        return super.set(id, session, callback);
      }
      destroy(id, callback) {
        this.audit.push(['destroy', id]);
        return super.destroy(id, callback);
      }
    }
    const store = open(AuditedStore);

    await call(store, 'set', 'abc', liveSession('abc', { user: 'ann' }));
    expect(await call(store, 'get', 'abc')).toMatchObject({ user: 'ann' });
    await call(store, 'destroy', 'abc');

    expect(await call(store, 'get', 'abc')).toBeNull();
    expect(store.audit).toEqual([
      ['set', 'abc'],
      ['get', 'abc'],
      ['destroy', 'abc'],
      ['get', 'abc'],
    ]);
  });

  test('`set` calls the `destroy` of a subclass for a session whose lifetime has ended', async () => {
    const destroyed = [];
    class WatchedStore extends RedisStore {
      destroy(id, callback) {
        destroyed.push(id);
        return super.destroy(id, callback);
      }
    }
    const store = open(WatchedStore);
    await call(store, 'set', 'abc', liveSession('abc'));
    expect(destroyed).toEqual([]);

    expect(await call(store, 'set', 'abc', liveSession('abc', {}, { maxAge: -1000 }))).toBeNull();

    expect(destroyed).toEqual(['abc']);
    expect(await redis.keys()).toEqual([]);
  });
});

test('async overrides can await super and call back themselves', async () => {
  class WrappingStore extends RedisStore {
    async get(id, callback) {
      try {
        const session = await super.get(id);
        callback(null, session && { ...session, loaded: true });
      } catch (error) {
        callback(error);
      }
    }
  }
  const store = open(WrappingStore);
  await store.set('abc', liveSession('abc'));

  expect(await styles.callback(store, 'get', 'abc')).toMatchObject({ loaded: true });
  expect(await styles.callback(store, 'get', 'nobody')).toBeNull();
});

test('`set` without a callback works with an async override of `destroy` that takes none', async () => {
  const destroyed = [];
  class PromiseStore extends RedisStore {
    async destroy(id) {
      await super.destroy(id);
      destroyed.push(id);
      return null;
    }
  }
  const store = open(PromiseStore);
  await store.set('abc', liveSession('abc'));

  expect(await store.set('abc', liveSession('abc', {}, { maxAge: -1000 }))).toBeNull();

  expect(destroyed).toEqual(['abc']);
  expect(await redis.keys()).toEqual([]);
});

test('`set` rejects with the error of an override of `destroy`', async () => {
  const failure = new Error('not now');
  class RefusingStore extends RedisStore {
    destroy(_id, callback) {
      if (!callback) return Promise.reject(failure);
      callback(failure);
    }
  }
  const store = open(RefusingStore);
  const expired = liveSession('abc', {}, { maxAge: -1000 });

  await expect(store.set('abc', expired)).rejects.toBe(failure);
  const { callback, called } = recordCalls();
  store.set('abc', expired, callback);
  expect((await called)[0]).toBe(failure);
});

test('a subclass can set its name and add fields', () => {
  class ShopStore extends RedisStore {
    constructor(options) {
      super({ prefix: 'shop:', ...options });
      this.region = 'eu';
    }
  }
  const store = open(ShopStore);

  expect(store).toBeInstanceOf(RedisStore);
  expect(store).toBeInstanceOf(ShopStore);
  expect(store).toMatchObject({ prefix: 'shop:', region: 'eu' });
});

const base64 = {
  parse: (text) => JSON.parse(Buffer.from(text, 'base64').toString()),
  stringify: (session) => Buffer.from(JSON.stringify(session)).toString('base64'),
};

describe('class fields of a subclass as options', () => {
  class ShopStore extends RedisStore {
    prefix = 'shop:';
    ttl = 60;
    serializer = base64;
    scanCount = 7;
    region = 'eu';
  }
  const withoutExpiry = { cookie: {}, user: 'ann' };

  test.each(Object.entries(styles))(
    'class fields of a subclass take effect as options, called in %s style',
    async (_style, call) => {
      const store = open(ShopStore);

      await call(store, 'set', 'abc', withoutExpiry);

      expect(await redis.keys()).toEqual(['shop:abc']);
      expect(String(await redis.command('GET', 'shop:abc'))).toBe(base64.stringify(withoutExpiry));
      const pttl = await redis.command('PTTL', 'shop:abc');
      expect(pttl).toBeGreaterThan(50_000);
      expect(pttl).toBeLessThanOrEqual(60_000);
      expect(await call(store, 'get', 'abc')).toMatchObject({ user: 'ann' });
      expect(store).toMatchObject({
        prefix: 'shop:',
        ttl: 60,
        serializer: base64,
        scanCount: 7,
        region: 'eu',
      });
    },
  );

  test.each([
    ['get', async (store) => expect(await store.get('abc')).toMatchObject({ user: 'ann' })],
    ['touch', async (store) => expect(await store.touch('abc', withoutExpiry)).toBeNull()],
    ['destroy', async (store) => expect(await store.destroy('abc')).toBeNull()],
    ['ids', async (store) => expect(await store.ids()).toEqual(['abc'])],
    ['all', async (store) => expect(await store.all()).toMatchObject([{ id: 'abc', user: 'ann' }])],
    ['length', async (store) => expect(await store.length()).toBe(1)],
    ['clear', async (store) => expect(await store.clear()).toBeNull()],
    [
      'scan',
      async (store) => {
        for await (const { id, session } of store.scan())
          expect([id, session]).toEqual(['abc', expect.objectContaining({ user: 'ann' })]);
      },
    ],
  ])('class fields of a subclass take effect when the first operation is %s', async (name, run) => {
    await redis.command('SET', 'shop:abc', base64.stringify(withoutExpiry));
    await redis.command('SET', 'sess:other', '{"cookie":{}}');

    await run(open(ShopStore));

    const isGone = name === 'destroy' || name === 'clear';
    expect((await redis.keys()).sort()).toEqual(isGone ? ['sess:other'] : ['sess:other', 'shop:abc']);
    const isTimed = (await redis.command('PTTL', 'shop:abc')) > 0;
    expect(isTimed).toBe(name === 'touch');
  });

  test('disableTouch, disableTTL and serializer as class fields apply to live sessions', async () => {
    class StillStore extends RedisStore {
      serializer = base64;
      disableTouch = true;
      disableTTL = true;
      async get(_id, callback) {
        callback(null, { cookie: { originalMaxAge: null }, user: 'ann' });
      }
    }
    const store = open(StillStore, { onConflict: 'reject' });
    const loaded = await styles.callback(store, 'get', 'abc');
    const session = store.createSession({ sessionID: 'abc' }, loaded);
    await redis.command(
      'SET',
      'sess:abc',
      base64.stringify({ cookie: { originalMaxAge: null }, user: 'ann' }),
    );

    await store.set('abc', session);

    expect(await redis.command('PTTL', 'sess:abc')).toBe(-1);
    expect(await store.touch('abc', liveSession('abc'))).toBeNull();
    expect(await redis.command('PTTL', 'sess:abc')).toBe(-1);
  });

  test('class fields of a subclass can be set like other fields', async () => {
    const store = open(ShopStore);
    await store.set('abc', withoutExpiry);

    store.prefix = 'mall:';
    await store.set('abc', withoutExpiry);

    expect((await redis.keys()).sort()).toEqual(['mall:abc', 'shop:abc']);
    expect(() => {
      store.ttl = 'long';
    }).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }));
  });

  test('a class field without a value leaves the option that was passed', async () => {
    class DeclaringStore extends RedisStore {
      prefix;
      ttl = null;
    }
    const store = open(DeclaringStore, { prefix: 'option:', ttl: 60 });

    await store.set('abc', withoutExpiry);

    expect(await redis.keys()).toEqual(['option:abc']);
    expect(store).toMatchObject({ prefix: 'option:', ttl: 60 });
  });

  test.each([
    ['prefix', 17, 'ERR_INVALID_ARG_TYPE'],
    ['ttl', Number.NaN, 'ERR_OUT_OF_RANGE'],
    ['onConflict', 'merge', 'ERR_INVALID_ARG_VALUE'],
    ['touchAfter', 60, 'ERR_INVALID_ARG_VALUE'],
    ['saveDestroyed', true, 'ERR_INVALID_ARG_VALUE'],
  ])(
    'every operation rejects with the name of an invalid class field: %s = %p',
    async (field, value, code) => {
      class MistakenStore extends RedisStore {
        [field] = value;
      }
      const store = open(MistakenStore);
      const expected = { code, message: expect.stringContaining(`"${field}"`) };

      for (const style of Object.values(styles))
        for (const run of [
          () => style(store, 'get', 'abc'),
          () => style(store, 'set', 'abc', withoutExpiry),
          () => style(store, 'length'),
          () => style(store, 'ids'),
        ])
          await expect(run()).rejects.toMatchObject(expected);
      expect(() => store.scan()).toThrow(expect.objectContaining(expected));
      expect(await redis.keys()).toEqual([]);
      await store.close();
    },
  );
});
