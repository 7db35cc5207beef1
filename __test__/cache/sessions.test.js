'use strict';

const { RedisStore } = require('../..');
const { closeAll, keepStore, openStore } = require('../support/stores.js');
const { describeServers } = require('../support/servers.js');
const { getSync } = require('../support/hits.js');
const { discardOf, liveSession } = require('../support/sessions.js');
const { newVisitor, startApp, stopAll } = require('../sessions/processes.js');
const { startProxy } = require('../support/proxy.js');
const { HANG_MS, until } = require('../support/until.js');
const { useRedis } = require('../support/redis.js');

// Caching changes nothing about logouts and conflicts.
describeServers('%s', (_name, program) => {
  const redis = useRedis({ program });
  afterEach(async () => {
    await stopAll();
    await closeAll();
  });

  /** Starts two processes with caches, and returns them with a visitor whose session both of them have read. */
  async function start(storeOptions) {
    const settings = { kind: 'connect-redis-native', url: redis.server.url };
    const options = { cache: true, touchAfter: 60, ...storeOptions };
    const apps = await Promise.all([1, 2].map(() => startApp({ ...settings, storeOptions: options })));
    const visitor = newVisitor();
    await apps[0].get('/keep?user=ann', visitor);
    for (const app of apps) for (let n = 0; n < 2; n++) await app.get('/look', { ...visitor });
    return [...apps, visitor];
  }

  test.each([
    ['saves in its midst', 'slow'],
    ['is saved at its end', 'slow-end'],
  ])(
    'with a cache, a session is not stored again after a logout by a slow request that %s',
    async (_how, path) => {
      const [one, other, visitor] = await start();
      const slow = await one.begin(`/${path}/gate?seen=1`, 'gate', visitor);
      await other.get('/logout', { ...visitor });

      expect((await slow.finish()).status).toBe(200);

      expect(await redis.keys()).toEqual([]);
      expect(await one.body('/discarded')).toContainEqual(discardOf(visitor.id));
    },
  );

  test('with a cache, two requests that add different keys are merged', async () => {
    const [one, other, visitor] = await start({ onConflict: 'merge' });
    const slow = await one.begin('/slow/gate?mine=1', 'gate', visitor);
    await other.get('/keep?theirs=1', { ...visitor });
    expect((await slow.finish()).status).toBe(200);
    expect(await redis.stored(`sess:${visitor.id}`)).toMatchObject({ user: 'ann', mine: '1', theirs: '1' });
  });

  test('with a cache, the second of two requests that change a session fails with ERR_SESSION_CONFLICT', async () => {
    const [one, other, visitor] = await start({ onConflict: 'reject' });
    const slow = await one.begin('/slow/gate?mine=1', 'gate', visitor);
    await other.get('/keep?theirs=1', { ...visitor });
    const { status, body } = await slow.finish();
    expect(status).toBe(500);
    expect(body).toMatchObject({ code: 'ERR_SESSION_CONFLICT', stored: { user: 'ann', theirs: '1' } });
  });

  test('with @fastify/session and caches, a change or logout in one process takes effect in the other', async () => {
    // Otherwise it saves a session that a request has only read: the one it read before its invalidation arrived.
    const sessionOptions = { rolling: false };
    const settings = { url: redis.server.url, storeOptions: { cache: true }, sessionOptions };
    const [one, other] = await Promise.all([1, 2].map(() => startApp(settings, 'fastify.js')));
    const visitor = newVisitor();
    await one.get('/keep?user=ann', visitor);
    for (const [app, name] of [
      [other, 'first'],
      [one, 'second'],
    ]) {
      await app.get(`/keep?${name}=1`, { ...visitor });
      // First after the invalidation, then from the cache.
      for (const reader of [one, other])
        await until(async () => (await reader.body('/look', { ...visitor }))[name] === '1');
    }
    expect(await other.body('/look', { ...visitor })).toMatchObject({ user: 'ann', first: '1', second: '1' });

    const slow = await one.begin('/slow/gate?seen=1', 'gate', visitor);
    await other.get('/logout', { ...visitor });
    expect((await slow.finish()).status).toBe(200);
    expect(await redis.keys()).toEqual([]);
    expect(await one.body('/discarded')).toContainEqual(discardOf(visitor.id));
    for (const reader of [one, other])
      await until(async () => (await reader.body('/look', { ...visitor })).user === undefined);
  });

  describe('a session read from the cache while its invalidation is on its way', () => {
    let proxy;
    beforeEach(async () => {
      proxy = await startProxy(redis.port);
    });
    afterEach(async () => {
      await closeAll();
      await proxy.close();
    });

    /**
     * Returns a store with a slow connection, and a live session that it returned from the cache after it was changed.
     */
    async function loadStale(onConflict, change) {
      const options = { cache: { maxStaleness: HANG_MS }, commandTimeout: HANG_MS, onConflict };
      const far = keepStore(new RedisStore({ url: proxy.url, ...options }));
      const near = await openStore('url', redis.port);
      await near.set('abc', liveSession('abc', { a: 1, n: 1 }));
      await until(async () => {
        await far.get('abc');
        return getSync(far, 'abc') !== 'later';
      });
      proxy.delay({ reply: HANG_MS });
      await change(near);
      const stale = getSync(far, 'abc');
      expect(stale).toMatchObject({ a: 1, n: 1 });
      // The invalidation arrives after the save has been called.
      setImmediate(() => proxy.heal());
      return [far, far.createSession({ sessionID: 'abc' }, stale)];
    }

    test.each(['merge', 'reject', 'overwrite'])(
      'a session that was destroyed is discarded although it was read from the cache, onConflict: %s',
      async (rule) => {
        const [store, session] = await loadStale(rule, (near) => near.destroy('abc'));
        session.n = 2;
        await store.set('abc', session);
        expect(await redis.keys()).toEqual([]);
      },
    );

    test('a session that was changed is merged although it was read from the cache', async () => {
      const change = (near) => near.set('abc', liveSession('abc', { a: 2, n: 1 }));
      const [store, session] = await loadStale('merge', change);
      session.n = 2;
      await store.set('abc', session);
      expect(await redis.stored('sess:abc')).toMatchObject({ a: 2, n: 2 });
      expect(await store.get('abc')).toMatchObject({ a: 2, n: 2 });
    });

    test('a save over a changed session is rejected although it was read from the cache', async () => {
      const change = (near) => near.set('abc', liveSession('abc', { a: 2, n: 1 }));
      const [store, session] = await loadStale('reject', change);
      session.n = 2;
      await expect(store.set('abc', session)).rejects.toMatchObject({
        code: 'ERR_SESSION_CONFLICT',
        stored: { a: 2, n: 1 },
      });
      expect(await redis.stored('sess:abc')).toMatchObject({ a: 2, n: 1 });
    });
  });
});
