'use strict';

const { RedisStore } = require('../..');
const { closeAll, keepStore, openStore } = require('../support/stores.js');
const { describeServers } = require('../support/servers.js');
const { givenAtOnce } = require('../support/hits.js');
const { liveSession } = require('../support/sessions.js');
const { newVisitor, startApp, stopAll } = require('../sessions/processes.js');
const { startProxy } = require('../support/proxy.js');
const { HANG_MS, until } = require('../support/until.js');
const { useRedis } = require('../support/redis.js');

// What is kept in a process takes nothing from the rules about logouts and conflicts.
describeServers('%s', (_name, program) => {
  const redis = useRedis({ program });
  afterEach(async () => {
    await stopAll();
    await closeAll();
  });

  /** Two processes with caches, and a visitor whose session both of them have read. */
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
  ])('after a logout, a slow request that %s brings nothing back', async (_how, path) => {
    const [one, other, visitor] = await start();
    const slow = await one.begin(`/${path}/gate?seen=1`, 'gate', visitor);
    await other.get('/logout', { ...visitor });

    expect((await slow.finish()).status).toBe(200);

    expect(await redis.keys()).toEqual([]);
    expect(await one.body('/discarded')).toContainEqual({ operation: 'set', id: visitor.id });
  });

  test('two requests that add something are merged', async () => {
    const [one, other, visitor] = await start({ onConflict: 'merge' });
    const slow = await one.begin('/slow/gate?mine=1', 'gate', visitor);
    await other.get('/keep?theirs=1', { ...visitor });
    expect((await slow.finish()).status).toBe(200);
    expect(await redis.stored(`sess:${visitor.id}`)).toMatchObject({ user: 'ann', mine: '1', theirs: '1' });
  });

  test('the second of two that change a session is told', async () => {
    const [one, other, visitor] = await start({ onConflict: 'reject' });
    const slow = await one.begin('/slow/gate?mine=1', 'gate', visitor);
    await other.get('/keep?theirs=1', { ...visitor });
    const { status, body } = await slow.finish();
    expect(status).toBe(500);
    expect(body).toMatchObject({ code: 'ERR_SESSION_CONFLICT', stored: { user: 'ann', theirs: '1' } });
  });

  test('with @fastify/session: what is done in one process is seen in the other, and a logout sticks', async () => {
    // Otherwise it saves what a request has only read: what it was given before it was told of a change.
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
      // Told of it, and then from what is kept.
      for (const reader of [one, other])
        await until(async () => (await reader.body('/look', { ...visitor }))[name] === '1');
    }
    expect(await other.body('/look', { ...visitor })).toMatchObject({ user: 'ann', first: '1', second: '1' });

    const slow = await one.begin('/slow/gate?seen=1', 'gate', visitor);
    await other.get('/logout', { ...visitor });
    expect((await slow.finish()).status).toBe(200);
    expect(await redis.keys()).toEqual([]);
    expect(await one.body('/discarded')).toContainEqual({ operation: 'set', id: visitor.id });
    for (const reader of [one, other])
      await until(async () => (await reader.body('/look', { ...visitor })).user === undefined);
  });

  describe('read from the cache while the message about its change is on its way', () => {
    let proxy;
    beforeEach(async () => {
      proxy = await startProxy(redis.port);
    });
    afterEach(async () => {
      await closeAll();
      await proxy.close();
    });

    /** A store far away, and the live session of a request that it has given an outdated one. */
    async function loadOutdated(onConflict, change) {
      const options = { cache: { maxStaleness: HANG_MS }, commandTimeout: HANG_MS, onConflict };
      const far = keepStore(new RedisStore({ url: proxy.url, ...options }));
      const near = await openStore('url', redis.port);
      await near.set('abc', liveSession('abc', { a: 1, n: 1 }));
      await until(async () => {
        await far.get('abc');
        return givenAtOnce(far, 'abc') !== 'later';
      });
      proxy.delay({ reply: HANG_MS });
      await change(near);
      const outdated = givenAtOnce(far, 'abc');
      expect(outdated).toMatchObject({ a: 1, n: 1 });
      // The message comes when the save has been issued.
      setImmediate(() => proxy.heal());
      return [far, far.createSession({ sessionID: 'abc' }, outdated)];
    }

    test.each(['merge', 'reject', 'overwrite'])('a session that was destroyed stays so: %s', async (rule) => {
      const [store, session] = await loadOutdated(rule, (near) => near.destroy('abc'));
      session.n = 2;
      await store.set('abc', session);
      expect(await redis.keys()).toEqual([]);
    });

    test('a session that was changed is merged', async () => {
      const change = (near) => near.set('abc', liveSession('abc', { a: 2, n: 1 }));
      const [store, session] = await loadOutdated('merge', change);
      session.n = 2;
      await store.set('abc', session);
      expect(await redis.stored('sess:abc')).toMatchObject({ a: 2, n: 2 });
      expect(await store.get('abc')).toMatchObject({ a: 2, n: 2 });
    });

    test('a session that was changed is not overwritten', async () => {
      const change = (near) => near.set('abc', liveSession('abc', { a: 2, n: 1 }));
      const [store, session] = await loadOutdated('reject', change);
      session.n = 2;
      await expect(store.set('abc', session)).rejects.toMatchObject({
        code: 'ERR_SESSION_CONFLICT',
        stored: { a: 2, n: 1 },
      });
      expect(await redis.stored('sess:abc')).toMatchObject({ a: 2, n: 1 });
    });
  });
});
