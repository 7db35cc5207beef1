'use strict';

const vm = require('node:vm');
const { serve } = require('../support/app.js');
const { useRedis } = require('../support/redis.js');
const { closeAll, openStore, recordCalls, styles } = require('../support/stores.js');
const { discardOf, liveSession } = require('../support/sessions.js');
const { newVisitor, startApp, stopAll } = require('./processes.js');

const redis = useRedis();
afterEach(async () => {
  await stopAll();
  await closeAll();
});

const OURS = 'connect-redis-native';
const start = (kind, storeOptions) =>
  Promise.all([1, 2].map(() => startApp({ kind, url: redis.server.url, storeOptions })));

describe.each([OURS, 'connect-redis 8.1', 'connect-redis 10'])('two Express processes on %s', (kind) => {
  test.each([
    ['saves the session itself', 'slow'],
    ['is saved at its end', 'slow-end'],
  ])(
    'after a logout in another process, a session is not stored again by a slow request that %s',
    async (_how, path) => {
      const [one, other] = await start(kind);
      const visitor = newVisitor();
      await one.get('/keep?user=ann', visitor);
      const slow = await one.begin(`/${path}/gate?seen=1`, 'gate', visitor);
      await other.get('/logout', { ...visitor });

      const answer = await slow.finish();

      expect(answer.status).toBe(200);
      const { user } = await other.body('/look', { ...visitor });
      expect(user).toBe(kind === OURS ? undefined : 'ann');
      expect(await redis.keys()).toEqual(kind === OURS ? [] : [`sess:${visitor.id}`]);
      if (kind === OURS) expect(await one.body('/discarded')).toContainEqual(discardOf(visitor.id));
    },
  );
});

test('with saveDestroyed, a slow request stores the session again after a logout, as with connect-redis', async () => {
  const [one, other] = await start(OURS, { saveDestroyed: true });
  const visitor = newVisitor();
  await one.get('/keep?user=ann', visitor);
  const slow = await one.begin('/slow/gate?seen=1', 'gate', visitor);
  await other.get('/logout', { ...visitor });
  await slow.finish();

  expect(await other.body('/look', { ...visitor })).toMatchObject({ user: 'ann', seen: '1' });
  expect(await one.body('/discarded')).toEqual([]);
});

test('after a logout in the same process, a slow request does not store the session again', async () => {
  const [one] = await start(OURS);
  const visitor = newVisitor();
  await one.get('/keep?user=ann', visitor);
  const slow = await one.begin('/slow/gate?seen=1', 'gate', visitor);
  await one.get('/logout', { ...visitor });
  await slow.finish();

  expect(await redis.keys()).toEqual([]);
});

test('the request that created a session does not store it again after a destroy', async () => {
  const [one] = await start(OURS);
  const slow = await one.begin('/twice/gate?user=ann', 'gate', newVisitor());
  const [key] = await redis.keys();
  await redis.command('DEL', key);
  await slow.finish();

  expect(await redis.keys()).toEqual([]);
  expect(await one.body('/discarded')).toContainEqual(discardOf(key.slice('sess:'.length)));
});

describe.each(['overwrite', 'reject', 'merge'])(
  'a session that was never saved, onConflict: %s',
  (onConflict) => {
    let store;
    let app;
    let discarded;
    beforeEach(async () => {
      store = await openStore('url', redis.port, { onConflict });
      discarded = jest.fn();
      store.on('discarded', discarded);
    });
    afterEach(() => app.close());

    async function visit(handle, options = {}) {
      app = await serve(store, options, (express, middleware) => express.use(middleware, handle));
      return app.visitor().get('/');
    }

    test.each([
      ['was destroyed', (session) => new Promise((resolve) => session.destroy(resolve))],
      ['was replaced', (session) => new Promise((resolve) => session.regenerate(resolve))],
      ['is being replaced', (session) => void session.regenerate(() => {})],
    ])('a session that was never saved is discarded once it %s', async (_how, end) => {
      let id;
      const answer = await visit(async ({ session }, response) => {
        id = session.id;
        session.user = 'ann';
        await end(session);
        session.save((error) => response.json(error ?? 'saved'));
      });

      expect(answer.body).toBe('saved');
      expect(await redis.keys()).not.toContain(`sess:${id}`);
      expect(discarded.mock.calls).toEqual([[discardOf(id)]]);
    });

    test('a session that was never saved does not block its id for the next one', async () => {
      const genid = () => 'abc';
      const answer = await visit(
        async (request, response) => {
          await new Promise((resolve) => request.session.regenerate(resolve));
          request.session.user = 'bob';
          request.session.save((error) => response.json(error ?? 'saved'));
        },
        { genid },
      );

      expect(answer.body).toBe('saved');
      expect(await redis.stored('sess:abc')).toMatchObject({ user: 'bob' });
      expect(discarded).not.toHaveBeenCalled();
    });
  },
);

describe('with @fastify/session, which creates its own sessions', () => {
  const startFastify = (storeOptions) =>
    Promise.all([1, 2].map(() => startApp({ url: redis.server.url, storeOptions }, 'fastify.js')));

  test.each([
    ['another', 'overwrite', 1],
    ['the same', 'overwrite', 0],
    ['another', 'merge', 1],
  ])(
    'after a logout in %s process, a slow Fastify request does not store the session again, onConflict: %s',
    async (_which, onConflict, process) => {
      const apps = await startFastify({ onConflict });
      const visitor = newVisitor();
      await apps[1].get('/keep?user=ann', visitor);
      const slow = await apps[0].begin('/slow/gate?seen=1', 'gate', visitor);
      await apps[process].get('/logout', { ...visitor });

      expect((await slow.finish()).status).toBe(200);

      expect(await redis.keys()).toEqual([]);
      expect(await apps[0].body('/discarded')).toEqual([discardOf(visitor.id)]);
    },
  );
});

describe.each(Object.entries(styles))('in %s style', (_style, call) => {
  const load = (store, id) => styles.callback(store, 'load', id);

  test("`set` of a loaded session that was destroyed stores nothing, succeeds and emits 'discarded'", async () => {
    const store = await openStore('url', redis.port);
    await call(store, 'set', 'abc', { cookie: {}, user: 'ann' });
    const session = await load(store, 'abc');
    const { callback, called } = recordCalls();
    store.on('discarded', callback);
    await redis.command('DEL', 'sess:abc');

    expect(await call(store, 'set', 'abc', session)).toBe('discarded');

    expect(await called).toEqual([discardOf('abc')]);
    expect(await redis.keys()).toEqual([]);
  });

  test('setting `prefix` to its current value keeps the records of loaded sessions', async () => {
    const store = await openStore('url', redis.port);
    await call(store, 'set', 'abc', { cookie: {}, user: 'ann' });
    const session = await load(store, 'abc');
    await redis.command('DEL', 'sess:abc');
    store.prefix = 'sess:';
    await call(store, 'set', 'abc', session);
    expect(await redis.keys()).toEqual([]);
  });

  test('`set` stores a loaded session that is alive', async () => {
    const store = await openStore('url', redis.port);
    await call(store, 'set', 'abc', { cookie: {}, user: 'ann' });
    const session = await load(store, 'abc');
    session.user = 'bob';
    await call(store, 'set', 'abc', session);
    expect(await redis.stored('sess:abc')).toMatchObject({ user: 'bob' });
  });

  test('`set` stores a new session, and discards it after a destroy', async () => {
    const store = await openStore('url', redis.port);
    const session = liveSession('abc', { user: 'ann' });
    await call(store, 'set', 'abc', session);
    expect(await redis.keys()).toEqual(['sess:abc']);
    await call(store, 'destroy', 'abc');
    await call(store, 'set', 'abc', session);
    expect(await redis.keys()).toEqual([]);
  });

  test('`set` stores a new session whose first save failed', async () => {
    const store = await openStore('url', redis.port);
    const session = liveSession('abc', { user: 'ann' });
    await redis.command('CONFIG', 'SET', 'maxmemory', '1');
    await expect(call(store, 'set', 'abc', session)).rejects.toMatchObject({ reply: 'OOM' });
    await redis.command('CONFIG', 'SET', 'maxmemory', '0');

    await call(store, 'set', 'abc', session);

    expect(await redis.keys()).toEqual(['sess:abc']);
  });

  test.each([
    ['objects of the app', { user: 'ann' }],
    ['objects of another realm', vm.runInNewContext('({ user: "ann" })')],
    ['objects without a prototype', Object.assign(Object.create(null), { user: 'ann' })],
    ['lists', [1]],
  ])('`set` stores %s repeatedly, under any id', async (_what, session) => {
    const store = await openStore('url', redis.port);
    for (const id of ['a', 'b']) await call(store, 'set', id, session);
    await call(store, 'destroy', 'a');
    await call(store, 'set', 'a', session);
    expect(await redis.keys()).toEqual(['sess:a', 'sess:b']);
  });

  test('`set` stores another object under an id that was destroyed', async () => {
    const store = await openStore('url', redis.port);
    for (const session of [liveSession('abc'), liveSession('abc')]) {
      await call(store, 'get', 'abc');
      await call(store, 'destroy', 'abc');
      await call(store, 'set', 'abc', session);
      expect(await redis.keys()).toEqual(['sess:abc']);
    }
  });

  test('`set` stores a session object under another id as a new session', async () => {
    const store = await openStore('url', redis.port);
    const session = liveSession('abc');
    await call(store, 'set', 'abc', session);
    await call(store, 'set', 'other', session);
    expect(await redis.keys()).toEqual(['sess:abc', 'sess:other']);
  });
});
