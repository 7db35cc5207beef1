'use strict';

const { RedisStore } = require('../..');
const { useRedis } = require('../support/redis.js');
const { closeAll, keepStore, recordCalls, styles } = require('../support/stores.js');
const { liveSession } = require('../support/sessions.js');

const redis = useRedis();
afterEach(closeAll);

const open = (Store, options) => keepStore(new Store({ url: `redis://127.0.0.1:${redis.port}`, ...options }));

describe.each(Object.entries(styles))('a subclass called in %s style', (_style, call) => {
  test('can override get, set and destroy and pass the callback on', async () => {
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

  test('its destroy is what set calls for a session whose lifetime is over', async () => {
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

test('an async override of destroy that takes no callback serves a set that was given none', async () => {
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

test('an override of destroy that fails gives its error to the set that called it', async () => {
  const refusal = new Error('not now');
  class RefusingStore extends RedisStore {
    destroy(_id, callback) {
      if (!callback) return Promise.reject(refusal);
      callback(refusal);
    }
  }
  const store = open(RefusingStore);
  const expired = liveSession('abc', {}, { maxAge: -1000 });

  await expect(store.set('abc', expired)).rejects.toBe(refusal);
  const { callback, called } = recordCalls();
  store.set('abc', expired, callback);
  expect((await called)[0]).toBe(refusal);
});

test('a subclass can name itself and add fields', () => {
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
