'use strict';

const { useRedis } = require('../support/redis.js');
const { closeAll, openStore, recordCalls, sources, styles } = require('../support/stores.js');
const { asRead, asStored, liveSession, shopVisitor } = require('../support/sessions.js');

const redis = useRedis();
afterEach(closeAll);

describe.each(sources)('a store by %s', (source) => {
  let store;
  beforeEach(async () => {
    store = await openStore(source, redis.port);
  });

  describe.each(Object.entries(styles))('called in %s style', (_style, call) => {
    test('`get` returns the session that `set` stored', async () => {
      const session = liveSession('abc', shopVisitor());

      expect(await call(store, 'set', 'abc', session)).toBeNull();
      expect(await redis.keys()).toEqual(['sess:abc']);
      expect(await redis.stored('sess:abc')).toEqual(asStored(session));
      expect(await call(store, 'get', 'abc')).toEqual(asRead(session));
    });

    test('`get` returns null when the session does not exist', async () => {
      expect(await call(store, 'get', 'nobody')).toBeNull();
    });

    test('`set` replaces the stored session', async () => {
      await call(store, 'set', 'abc', liveSession('abc', { visits: 1 }));
      await call(store, 'set', 'abc', liveSession('abc', { visits: 2 }));

      expect(await call(store, 'get', 'abc')).toMatchObject({ visits: 2 });
    });

    test('`touch` renews the lifetime of a session', async () => {
      await call(store, 'set', 'abc', liveSession('abc', {}, { maxAge: 60_000 }));

      expect(await call(store, 'touch', 'abc', liveSession('abc', {}, { maxAge: 600_000 }))).toBeNull();
      expect(await redis.lifetime('sess:abc')).toBeGreaterThan(500_000);
    });

    test('`destroy` deletes a session, and succeeds when there is none', async () => {
      await call(store, 'set', 'abc', liveSession('abc'));
      await call(store, 'set', 'other', liveSession('other'));

      expect(await call(store, 'destroy', 'abc')).toBeNull();
      expect(await redis.keys()).toEqual(['sess:other']);
      expect(await call(store, 'destroy', 'abc')).toBeNull();
    });

    test('`all` returns every session with its id', async () => {
      const one = liveSession('one', shopVisitor(1));
      const two = liveSession('two', shopVisitor(2));
      await call(store, 'set', 'one', one);
      await call(store, 'set', 'two', two);

      const sessions = await call(store, 'all');

      expect(Array.isArray(sessions)).toBe(true);
      expect(sessions).toHaveLength(2);
      expect(sessions).toEqual(
        expect.arrayContaining([
          { ...asRead(one), id: 'one' },
          { ...asRead(two), id: 'two' },
        ]),
      );
      expect(sessions.corrupt).toBe(0);
    });

    test('`ids` returns the ids without the prefix', async () => {
      await call(store, 'set', 'one', liveSession('one'));
      await call(store, 'set', 'two', liveSession('two'));

      expect((await call(store, 'ids')).sort()).toEqual(['one', 'two']);
    });

    test('`length` counts the sessions', async () => {
      await call(store, 'set', 'one', liveSession('one'));
      await call(store, 'set', 'two', liveSession('two'));

      expect(await call(store, 'length')).toBe(2);
    });

    test('`clear` deletes every session and nothing else', async () => {
      await call(store, 'set', 'one', liveSession('one'));
      await call(store, 'set', 'two', liveSession('two'));
      await redis.command('SET', 'cart:one', 'kept');

      expect(await call(store, 'clear')).toBeNull();
      expect(await redis.keys()).toEqual(['cart:one']);
    });

    test('`all` and `ids` are empty, `length` is 0 and `clear` succeeds when there is no session', async () => {
      await redis.command('SET', 'cart:one', 'not a session');

      expect(await call(store, 'all')).toEqual([]);
      expect(await call(store, 'ids')).toEqual([]);
      expect(await call(store, 'length')).toBe(0);
      expect(await call(store, 'clear')).toBeNull();
    });
  });

  test('scans return each session once when there are more than one SCAN reply holds', async () => {
    const ids = Array.from({ length: 1234 }, (_, number) => `id-${number}`);
    await redis.command('MSET', ...ids.flatMap((id) => [`sess:${id}`, `{"name":"${id}"}`]));

    expect(await store.length()).toBe(ids.length);
    expect((await store.ids()).sort()).toEqual([...ids].sort());
    const sessions = await store.all();
    expect(sessions.map(({ id }) => id).sort()).toEqual([...ids].sort());
    expect(sessions.every(({ id, name }) => id === name)).toBe(true);
    await store.clear();
    expect(await redis.keys()).toEqual([]);
  });
});

describe('the arguments of a callback', () => {
  const session = liveSession('abc', { user: 'ann' });
  const calls = [
    ['get', ['abc'], asRead(session)],
    ['get', ['nobody'], null],
    ['set', ['abc', session], null],
    ['touch', ['abc', session], null],
    ['touch', ['nobody', session], null],
    ['destroy', ['abc'], null],
    ['all', [], [{ ...asRead(session), id: 'abc' }]],
    ['ids', [], ['abc']],
    ['length', [], 1],
    ['clear', [], null],
  ];

  let store;
  beforeEach(async () => {
    store = await openStore('url', redis.port);
    await store.set('abc', session);
  });

  test.each(calls)('%s(%j) calls back with null and the result, once', async (method, args, result) => {
    const { callback, called, calls } = recordCalls();

    store[method](...args, callback);
    expect(await called).toEqual([null, result]);

    // A second call would come before the reply to a later operation.
    await store.length();
    expect(calls).toHaveLength(1);
  });

  test.each([
    ['get', ['list']],
    ['set', ['abc', { user: 1n }]],
    ['touch', ['abc', { cookie: { expires: 'never' } }]],
    ['destroy', [{}]],
  ])('%s calls back with the error and null, once, when it fails', async (method, args) => {
    await redis.command('LPUSH', 'sess:list', 'not a string');
    const { callback, called, calls } = recordCalls();

    store[method](...args, callback);
    expect(await called).toEqual([expect.objectContaining({ message: expect.any(String) }), null]);

    await store.length();
    expect(calls).toHaveLength(1);
  });

  test.each(calls)('%s(%j) returns a promise when no callback is passed', async (method, args, result) => {
    const promise = store[method](...args);

    expect(promise).toBeInstanceOf(Promise);
    expect(await promise).toEqual(result);
  });

  // `req.session.destroy()` calls `store.destroy(id, undefined)`.
  test.each([undefined, null])('`destroy(id, %s)` returns a promise', async (nothing) => {
    expect(await store.destroy('abc', nothing)).toBeNull();
    expect(await redis.keys()).toEqual([]);
  });
});
