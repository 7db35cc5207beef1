'use strict';

const { Session } = require('express-session');
const { RedisStore } = require('../..');
const { keyOf, serve } = require('../support/app.js');
const { useRedis } = require('../support/redis.js');
const { discardOf, liveSession } = require('../support/sessions.js');
const { closeAll, keepStore, openStore, styles } = require('../support/stores.js');

const redis = useRedis();
let app;
afterEach(async () => {
  await app?.close();
  app = undefined;
  await closeAll();
});

const save = (session) =>
  new Promise((resolve, reject) => {
    session.save((error, result) => (error ? reject(error) : resolve(result)));
  });
const regenerate = (session) => new Promise((resolve) => session.regenerate(resolve));
const destroy = (session) => new Promise((resolve) => session.destroy(resolve));
const sign = ({ session }) => {
  session.user = 'ann';
};
const put = (id, session) => redis.command('SET', `sess:${id}`, JSON.stringify(session), 'PX', 60_000);

async function open(options) {
  const store = await openStore('url', redis.port, options);
  const discarded = jest.fn();
  store.on('discarded', discarded);
  return { store, discarded };
}

/** Serves an app with a route for each handler, named by the path, and returns a visitor. */
async function visit(store, handlers, { wrap = (session) => session, options } = {}) {
  app = await serve(store, { cookie: { maxAge: 60_000 }, ...options }, (router, middleware) => {
    router.use(middleware);
    router.use((request, _response, next) => {
      request.session = wrap(request.session);
      next();
    });
    for (const [name, handle] of Object.entries(handlers))
      router.get(`/${name}`, (request, response, next) => {
        Promise.resolve(handle(request)).then((body) => response.json(body ?? null), next);
      });
  });
  return app.visitor();
}

describe.each(['overwrite', 'merge', 'reject'])('createSession, onConflict: %s', (onConflict) => {
  test('`createSession` with data that `get` did not return makes a new session, which is stored', async () => {
    const { store, discarded } = await open({ onConflict });
    const request = { sessionID: 'abc', sessionStore: store };
    const session = store.createSession(request, { cookie: { originalMaxAge: 60_000 }, user: 'ann' });

    expect(await save(session)).toBeNull();

    expect(await redis.stored('sess:abc')).toMatchObject({ user: 'ann' });
    expect(discarded).not.toHaveBeenCalled();
  });

  test.each(Object.entries(styles))(
    '`createSession` with data that `get` returned makes a loaded session, which a destroy discards, in %s style',
    async (_style, call) => {
      const { store, discarded } = await open({ onConflict });
      await put('abc', { cookie: {}, user: 'ann' });
      const data = await call(store, 'get', 'abc');
      const session = store.createSession({ sessionID: 'abc', sessionStore: store }, data);
      await redis.command('DEL', 'sess:abc');

      expect(await save(session)).toBe('discarded');

      expect(await redis.keys()).toEqual([]);
      expect(discarded.mock.calls).toEqual([[discardOf('abc')]]);
    },
  );

  test('`createSession` with data that `get` returned for another id makes a new session', async () => {
    const { store } = await open({ onConflict });
    await put('abc', { cookie: {}, user: 'ann' });
    const data = await store.get('abc');
    const session = store.createSession({ sessionID: 'def', sessionStore: store }, data);
    await save(session);
    expect(await redis.stored('sess:def')).toMatchObject({ user: 'ann' });
  });

  test('`createSession` with other data makes a new session, also after the app called `get` with the id', async () => {
    const { store } = await open();
    await put('abc', { cookie: {}, user: 'ann' });
    store.generate = () => {};
    const request = { sessionID: 'abc', sessionStore: store, headers: { cookie: 'connect.sid=s%3Aabc.x' } };
    await store.get('abc');
    const session = store.createSession(request, { cookie: {}, user: 'bob' });
    await redis.command('DEL', 'sess:abc');
    expect(await save(session)).toBeNull();
    expect(await redis.stored('sess:abc')).toMatchObject({ user: 'bob' });
  });

  test('`createSession` after a destroy in the same request makes a session that is stored', async () => {
    const { store } = await open({ onConflict });
    const visitor = await visit(store, {
      sign,
      replace: async (request) => {
        const { session } = request;
        await destroy(session);
        request.session = store.createSession(request, { cookie: { originalMaxAge: 60_000 }, user: 'bob' });
        return (await save(request.session)) ?? 'stored';
      },
    });
    await visitor.get('/sign');
    expect((await visitor.get('/replace')).body).toBe('stored');
    expect(await redis.stored(keyOf(visitor))).toMatchObject({ user: 'bob' });
  });
});

test('`set` of a new session rejects with ERR_SESSION_CONFLICT when its id is taken', async () => {
  const { store } = await open({ onConflict: 'reject' });
  await put('abc', { cookie: {}, user: 'ann' });
  const session = store.createSession({ sessionID: 'abc' }, { cookie: {}, user: 'bob' });
  await expect(store.set('abc', session)).rejects.toMatchObject({ code: 'ERR_SESSION_CONFLICT' });
});

describe('a subclass whose get returns another object than super.get', () => {
  const decrypted = (session) => session && { ...session, decrypted: true };

  class SynchronousStore extends RedisStore {
    get(id, callback) {
      return super.get(id, (error, session) => callback(error, decrypted(session)));
    }
  }
  class AsynchronousStore extends RedisStore {
    async get(id, callback) {
      const session = await super.get(id).catch(callback);
      if (session !== undefined) callback(null, decrypted(session));
    }
  }

  test.each([
    ['synchronously', SynchronousStore],
    ['asynchronously', AsynchronousStore],
  ])(
    'a logout during a request is final when a subclass returns another object from `get` %s',
    async (_how, Store) => {
      const store = keepStore(new Store({ url: redis.server.url }));
      const visitor = await visit(store, {
        sign,
        slow: async (request) => {
          await redis.command('DEL', `sess:${request.sessionID}`);
          request.session.seen = 1;
          return await save(request.session);
        },
      });
      await visitor.get('/sign');
      expect((await visitor.get('/slow')).body).toBe('discarded');
      expect(await redis.keys()).toEqual([]);
    },
  );
});

describe('explicit `set`', () => {
  test.each(['overwrite', 'merge'])(
    '`set` stores a replaced session under another id, onConflict: %s',
    async (onConflict) => {
      const { store, discarded } = await open({ onConflict });
      const visitor = await visit(store, {
        sign,
        audit: async (request) => {
          const old = request.session;
          await regenerate(old);
          return (await store.set('audit-1', old)) ?? 'stored';
        },
      });
      for (const path of ['/audit', '/sign', '/audit']) {
        await redis.command('DEL', 'sess:audit-1');
        expect((await visitor.get(path)).body).toBe(path === '/audit' ? 'stored' : null);
        expect(await redis.keys()).toEqual(
          expect.arrayContaining(path === '/audit' ? ['sess:audit-1'] : [keyOf(visitor)]),
        );
      }
      expect(discarded).not.toHaveBeenCalled();
    },
  );

  test('`set` stores a session under another id as often as it is destroyed there', async () => {
    const { store } = await open();
    await put('abc', { cookie: {}, user: 'ann' });
    const session = await styles.callback(store, 'load', 'abc');
    for (let times = 0; times < 2; times++) {
      await store.set('copy', session);
      expect(await redis.stored('sess:copy')).toMatchObject({ user: 'ann' });
      await store.destroy('copy');
    }
  });

  test.each([true, false])(
    '`set` discards a replaced session under its own id (was stored: %p)',
    async (isStored) => {
      const { store, discarded } = await open();
      const visitor = await visit(
        store,
        {
          sign,
          revive: async (request) => {
            const old = request.session;
            await regenerate(old);
            request.session.user = 'bob';
            await save(request.session);
            old.user = 'revived';
            return await store.set(old.id, old);
          },
        },
        // The id is reused: the new session must not be overwritten either.
        { options: { genid: () => 'same' } },
      );
      if (isStored) await visitor.get('/sign');
      expect((await visitor.get('/revive')).body).toBe('discarded');
      expect(discarded.mock.calls).toEqual([[discardOf('same')]]);
      expect(await redis.stored('sess:same')).toMatchObject({ user: 'bob' });
    },
  );

  test('`set` stores a session whose regenerate failed', async () => {
    const { store } = await open();
    const visitor = await visit(store, {
      fail: async (request) => {
        const old = request.session;
        await redis.command('ACL', 'SETUSER', 'default', '-del', '-unlink');
        const error = await regenerate(old);
        await redis.command('ACL', 'SETUSER', 'default', '+del', '+unlink');
        expect(error).toMatchObject({ reply: 'NOPERM' });
        return (await store.set(old.id, old)) ?? 'stored';
      },
    });
    expect((await visitor.get('/fail')).body).toBe('stored');
  });

  test('`set` stores a session whose request has set `req.session` to null, whatever happened to its id before', async () => {
    const { store } = await open();
    await store.destroy('same');
    const visitor = await visit(
      store,
      {
        keep: async (request) => {
          const { session } = request;
          request.session = null;
          session.user = 'ann';
          return (await store.set(session.id, session)) ?? 'stored';
        },
      },
      { options: { genid: () => 'same' } },
    );
    expect((await visitor.get('/keep')).body).toBe('stored');
  });
});

/** Wraps all objects that are read through it, as membranes and change observers do. */
const membrane = (target) =>
  new Proxy(target, {
    get(object, name, receiver) {
      const value = Reflect.get(object, name, receiver);
      const isObject = value !== null && typeof value === 'object' && name !== 'req' && name !== 'cookie';
      return isObject ? membrane(value) : value;
    },
    set: (object, name, value) => Reflect.set(object, name, value),
  });

const wrappers = {
  'a Proxy': (session) => new Proxy(session, {}),
  'a Proxy of a Proxy': (session) => new Proxy(new Proxy(session, {}), {}),
  'a membrane': membrane,
  'a derived object': (session) => Object.create(session),
  'a Proxy that lets nothing be defined': (session) =>
    new Proxy(session, {
      defineProperty(target, name, descriptor) {
        if (typeof name === 'symbol') throw new TypeError('read only');
        return Reflect.defineProperty(target, name, descriptor);
      },
    }),
};

describe.each(Object.entries(wrappers))('a session behind %s', (name, wrap) => {
  test('a wrapped session is not stored again after a logout in another process', async () => {
    const { store, discarded } = await open();
    const visitor = await visit(
      store,
      {
        sign,
        slow: async ({ session, sessionID }) => {
          await redis.command('DEL', `sess:${sessionID}`);
          session.seen = 1;
          return await save(session);
        },
      },
      { wrap },
    );
    await visitor.get('/sign');
    await put(visitor.id, { cookie: { originalMaxAge: 60_000 }, user: 'ann' });
    expect((await visitor.get('/slow')).body).toBe('discarded');
    expect(await redis.keys()).toEqual([]);
    expect(discarded).toHaveBeenCalled();
  });

  test('a wrapped session is stored while it is alive, and merged with what others have stored', async () => {
    const { store } = await open({ onConflict: 'merge' });
    const visitor = await visit(
      store,
      {
        sign,
        slow: async ({ session, sessionID }) => {
          await put(sessionID, { cookie: {}, user: 'ann', theirs: 1 });
          session.mine = 1;
          return (await save(session)) ?? 'stored';
        },
      },
      { wrap },
    );
    await visitor.get('/sign');
    await put(visitor.id, { cookie: { originalMaxAge: 60_000 }, user: 'ann' });
    expect((await visitor.get('/slow')).body).toBe('stored');
    // A derived object does not own what it inherits: JSON.stringify leaves it out.
    const inherited = name === 'a derived object' ? {} : { user: 'ann' };
    expect(await redis.stored(keyOf(visitor))).toMatchObject({ ...inherited, theirs: 1, mine: 1 });
  });
});

test.each([
  ['Object.freeze', Object.freeze],
  [
    'a deep freeze of all own keys',
    function freeze(object) {
      for (const key of Reflect.ownKeys(object)) {
        const value = object[key];
        const isFrozen = value === null || !['object', 'function'].includes(typeof value) || key === 'req';
        if (!isFrozen && !Object.isFrozen(value)) freeze(value);
      }
      return Object.freeze(object);
    },
  ],
])('a session frozen by %s is saved, touched and discarded after a logout', async (_how, freeze) => {
  const { store } = await open({ touchAfter: 1, onConflict: 'merge' });
  await put('abc', { cookie: { originalMaxAge: 60_000 }, user: 'ann' });
  const loaded = freeze(await styles.callback(store, 'load', 'abc'));
  const made = freeze(liveSession('def', { user: 'bob' }));
  for (const [id, session] of Object.entries({ abc: loaded, def: made })) {
    expect(await store.set(id, session)).toBeNull();
    expect(await store.touch(id, session)).toBeNull();
    await redis.command('DEL', `sess:${id}`);
    expect(await store.set(id, session)).toBe('discarded');
  }
  expect(await redis.keys()).toEqual([]);
});

test('the session registry adds no visible property to a session', async () => {
  const { store } = await open();
  await put('abc', { cookie: { originalMaxAge: null }, user: 'ann' });
  const data = await store.get('abc');
  expect(data).toStrictEqual({ cookie: { originalMaxAge: null }, user: 'ann' });
  expect(Reflect.ownKeys({ ...data })).toEqual(['cookie', 'user']);
  const session = await styles.callback(store, 'load', 'abc');
  expect(Reflect.ownKeys(Object.assign({}, session))).toEqual(['cookie', 'user']);
  expect(Object.keys(JSON.parse(JSON.stringify(session)))).toEqual(['cookie', 'user']);
});

test('a session of another copy of express-session, once saved, is discarded after a logout', async () => {
  const { store } = await open();
  let other;
  jest.isolateModules(() => {
    other = require('express-session');
  });
  const session = new other.Session({ sessionID: 'abc', sessionStore: store }, { cookie: {}, user: 'ann' });
  expect(session).not.toBeInstanceOf(Session);
  expect(await save(session)).toBeNull();
  expect(await save(session)).toBeNull();
  await redis.command('DEL', 'sess:abc');
  expect(await save(session)).toBe('discarded');
  expect(await store.set('def', session)).toBeNull();
  expect(await redis.keys()).toEqual(['sess:def']);
});

test('two stores keep separate records of one session object', async () => {
  const { store: one } = await open();
  const { store: other } = await open({ prefix: 'other:' });
  await put('abc', { cookie: {}, user: 'ann' });
  const session = await styles.callback(one, 'load', 'abc');
  expect(await other.set('abc', session)).toBeNull();
  expect(await redis.keys()).toEqual(['other:abc', 'sess:abc']);
});

test.each(['overwrite', 'merge'])(
  'a new session is stored under a reused id, whatever ended the old one, onConflict: %s',
  async (onConflict) => {
    const { store, discarded } = await open({ onConflict });
    for (const end of [
      () => redis.command('FLUSHALL'),
      () => redis.command('DEL', 'sess:same'),
      () => store.destroy('same'),
      () => redis.command('PEXPIRE', 'sess:same', '0'),
    ]) {
      const visitor = await visit(
        store,
        {
          sign: async ({ session }) => {
            session.user = 'ann';
            return (await save(session)) ?? 'stored';
          },
        },
        { options: { genid: () => 'same' } },
      );
      expect((await visitor.get('/sign')).body).toBe('stored');
      await end();
      expect((await visitor.get('/sign')).body).toBe('stored');
      expect(await redis.stored('sess:same')).toMatchObject({ user: 'ann' });
      await app.close();
      app = undefined;
      await redis.command('FLUSHALL');
    }
    expect(discarded).not.toHaveBeenCalled();
  },
);

test('a new session is stored when its request outlives the cookie before the first save', async () => {
  const { store } = await open();
  const session = new Session({ sessionID: 'abc', sessionStore: store }, liveSession('abc', { user: 'ann' }));
  session.cookie.expires = new Date(Date.now() - 1000);
  session.cookie.originalMaxAge = 60_000;
  await save(session);
  expect(await redis.lifetime('sess:abc')).toBeGreaterThan(50_000);
});
