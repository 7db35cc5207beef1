'use strict';

const { AsyncLocalStorage } = require('node:async_hooks');
const { RedisStore } = require('../..');
const { RedisStore: Predecessor } = require('connect-redis10');
const { startRedis, useRedis } = require('../support/redis.js');
const { closeAll, keepStore, openClient } = require('../support/stores.js');
const { serve } = require('./app.js');

const redis = useRedis();
let app;

afterEach(async () => {
  await app?.close();
  app = undefined;
  await closeAll();
});

const stores = {
  'connect-redis-native by url': async () => keepStore(new RedisStore({ url: redis.server.url })),
  'connect-redis-native by client': async () =>
    keepStore(new RedisStore({ client: await openClient('redis6', redis.port) })),
  // What holds for the predecessor, too, shows that these tests ask for nothing of our own.
  'connect-redis 10': async () => new Predecessor({ client: await openClient('redis6', redis.port) }),
};

describe.each(Object.entries(stores))('an Express app on %s', (_name, open) => {
  const start = async (options, routes = () => {}) => {
    const store = await open();
    app = await serve(store, options, (express, middleware) => {
      express.use(middleware);
      express.get('/count', (request, response) => {
        request.session.count = (request.session.count ?? 0) + 1;
        response.json(request.session.count);
      });
      express.get('/look', (request, response) => response.json(request.session.count ?? null));
      routes(express, store);
    });
    return app.visitor();
  };

  test('remembers what a handler put into the session', async () => {
    const visitor = await start();
    expect((await visitor.get('/count')).body).toBe(1);
    expect((await visitor.get('/count')).body).toBe(2);
    expect((await app.visitor().get('/count')).body).toBe(1);
    expect(await redis.stored(`sess:${visitor.id}`)).toMatchObject({ count: 2 });
  });

  test('regenerate: another id, and the old session is gone', async () => {
    const visitor = await start({}, (express) => {
      express.get('/login', (request, response, next) =>
        request.session.regenerate((error) => {
          if (error) return next(error);
          request.session.user = 'ann';
          response.json('in');
        }),
      );
    });
    await visitor.get('/count');
    const before = visitor.id;
    await visitor.get('/login');
    expect(visitor.id).not.toBe(before);
    expect(await redis.keys()).toEqual([`sess:${visitor.id}`]);
  });

  test('save and reload', async () => {
    const visitor = await start({}, (express) => {
      express.get('/save', (request, response, next) => {
        request.session.count = 10;
        request.session.save((error) => {
          if (error) return next(error);
          request.session.count = 99;
          request.session.reload((failure) =>
            failure ? next(failure) : response.json(request.session.count),
          );
        });
      });
    });
    expect((await visitor.get('/save')).body).toBe(10);
  });

  test.each([
    ['with a callback', (request, response) => request.session.destroy(() => response.json('out'))],
    [
      'without one',
      (request, response) => {
        request.session.destroy();
        response.json('out');
      },
    ],
  ])('destroy, %s', async (_how, handler) => {
    const visitor = await start({}, (express) => express.get('/logout', handler));
    await visitor.get('/count');
    await visitor.get('/logout');
    while ((await redis.keys()).length > 0);
    expect((await visitor.get('/look')).body).toBeNull();
  });

  test("unset: 'destroy' and 'keep'", async () => {
    const routes = (express) =>
      express.get('/unset', (request, response) => {
        request.session = null;
        response.json('unset');
      });
    for (const [unset, left] of [
      ['destroy', 0],
      ['keep', 1],
    ]) {
      const visitor = await start({ unset }, routes);
      await visitor.get('/count');
      await visitor.get('/unset');
      expect(await redis.keys()).toHaveLength(left);
      await app.close();
    }
    app = undefined;
  });

  test('saveUninitialized', async () => {
    const visitor = await start({ saveUninitialized: true });
    await visitor.get('/look');
    expect(await redis.keys()).toEqual([`sess:${visitor.id}`]);
    await app.close();
    const other = await start({ saveUninitialized: false });
    await other.get('/look');
    expect(other.cookie).toBeUndefined();
  });

  test('a session that is only looked at lives on, unchanged', async () => {
    const visitor = await start({ cookie: { maxAge: 60_000 } });
    await visitor.get('/count');
    const key = `sess:${visitor.id}`;
    const value = String(await redis.command('GET', key));
    await redis.command('PEXPIRE', key, 5000);
    await visitor.get('/look');
    expect(await redis.lifetime(key)).toBeGreaterThan(5000);
    expect(String(await redis.command('GET', key))).toBe(value);
  });

  test('resave writes what was not changed', async () => {
    const visitor = await start({ resave: true, cookie: { maxAge: 60_000 } });
    await visitor.get('/count');
    const key = `sess:${visitor.id}`;
    const { cookie } = await redis.stored(key);
    while (new Date(cookie.expires) >= Date.now() + 59_999); // so that another expiry can be told
    await visitor.get('/look');
    expect((await redis.stored(key)).cookie.expires).not.toBe(cookie.expires);
  });

  test('rolling renews the cookie', async () => {
    const visitor = await start({ rolling: true, cookie: { maxAge: 60_000 } });
    await visitor.get('/count');
    expect((await visitor.get('/look')).setCookie).toMatch(/Expires=/);
  });

  test('a cookie without maxAge: the session lives for the default ttl', async () => {
    const visitor = await start();
    await visitor.get('/count');
    const lifetime = await redis.lifetime(`sess:${visitor.id}`);
    expect(lifetime).toBeGreaterThan(86_390_000);
    expect(lifetime).toBeLessThanOrEqual(86_400_000);
  });

  test('fifty visitors at once keep their sessions apart', async () => {
    await start();
    const counts = await Promise.all(
      Array.from({ length: 50 }, async (_, index) => {
        const visitor = app.visitor();
        for (let time = 0; time <= index % 5; time++) await visitor.get('/count');
        return (await visitor.get('/look')).body;
      }),
    );
    expect(counts).toEqual(Array.from({ length: 50 }, (_, index) => (index % 5) + 1));
  });

  test('the async context of before the session middleware holds behind it', async () => {
    const context = new AsyncLocalStorage();
    const store = await open();
    app = await serve(store, {}, (express, middleware) => {
      express.use((request, _response, next) => context.run(request.url, next));
      express.use(middleware);
      express.get('/:n', (request, response, next) => {
        request.session.n = request.params.n;
        const seen = [context.getStore()];
        request.session.save((error) => {
          seen.push(context.getStore());
          if (error) next(error);
          else response.json(seen);
        });
      });
    });
    await Promise.all(
      Array.from({ length: 40 }, async (_, n) => {
        const visitor = app.visitor();
        await visitor.get(`/${n}`);
        expect((await visitor.get(`/${n}`)).body).toEqual([`/${n}`, `/${n}`]);
      }),
    );
  });

  test('a handler that throws leaves the session as it was', async () => {
    const visitor = await start({}, (express) =>
      express.get('/throw', () => {
        throw new Error('thrown by the handler');
      }),
    );
    await visitor.get('/count');
    expect(await visitor.get('/throw')).toMatchObject({ status: 500 });
    expect((await visitor.get('/look')).body).toBe(1);
  });

  test("the store's own methods beside a running app", async () => {
    let store;
    const visitor = await start({}, (_express, opened) => {
      store = opened;
    });
    await visitor.get('/count');
    expect(await store.ids()).toEqual([visitor.id]);
    expect(await store.length()).toBe(1);
    expect((await store.all()).map(({ id, count }) => [id, count])).toEqual([[visitor.id, 1]]);
    const loaded = await new Promise((resolve, reject) =>
      store.load(visitor.id, (error, session) => (error ? reject(error) : resolve(session))),
    );
    expect(loaded.count).toBe(1);
    expect(typeof loaded.save).toBe('function');
    await store.clear();
    expect((await visitor.get('/look')).body).toBeNull();
  });
});

test('a request without Redis gets an error in time, and a session when Redis is back', async () => {
  const server = await startRedis();
  const store = keepStore(new RedisStore({ url: server.url }));
  try {
    app = await serve(store, {}, (express, middleware) => {
      express.use(middleware);
      express.get('/count', (request, response) => {
        request.session.count = (request.session.count ?? 0) + 1;
        response.json(request.session.count);
      });
    });
    const visitor = app.visitor();
    await visitor.get('/count');
    await server.kill();
    expect(await visitor.get('/count')).toMatchObject({
      status: 500,
      body: { code: 'ERR_REDIS_UNAVAILABLE' },
    });
    await server.start();
    // That Redis has lost everything, so the visitor is new.
    expect(await visitor.get('/count')).toMatchObject({ status: 200, body: 1 });
  } finally {
    await server.stop();
  }
});
