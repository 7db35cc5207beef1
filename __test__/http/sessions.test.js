'use strict';

const { until } = require('../support/until.js');
const { keyOf } = require('../support/app.js');
const { useApps } = require('./apps.js');

const apps = useApps();
const { redis } = apps;

describe.each(Object.entries(apps.stores))('an Express app on %s', (_name, open) => {
  const start = async (options, routes) => apps.visit(await open(), options, routes);

  test('a session keeps what a handler stored in it', async () => {
    const visitor = await start();
    expect((await visitor.get('/count')).body).toBe(1);
    expect((await visitor.get('/count')).body).toBe(2);
    expect((await apps.visitor().get('/count')).body).toBe(1);
    expect(await redis.stored(keyOf(visitor))).toMatchObject({ count: 2 });
  });

  test('regenerate changes the id and destroys the old session', async () => {
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
    expect(await redis.keys()).toEqual([keyOf(visitor)]);
  });

  test('reload returns what save stored', async () => {
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

  test('an explicit save is the only one of its request', async () => {
    const visitor = await start({}, (express) =>
      express.get('/save', (request, response, next) => {
        request.session.count = 10;
        request.session.save((error) => (error ? next(error) : response.json('saved')));
      }),
    );
    await visitor.get('/count');
    const before = await redis.calls('set');
    await visitor.get('/save');
    expect((await redis.calls('set')) - before).toBe(1);
    expect((await visitor.get('/look')).body).toBe(10);
  });

  test.each([
    ['with a callback', (request, response) => request.session.destroy(() => response.json('out'))],
    [
      'without a callback',
      (request, response) => {
        request.session.destroy();
        response.json('out');
      },
    ],
  ])('destroy deletes the session %s', async (_how, handler) => {
    const visitor = await start({}, (express) => express.get('/logout', handler));
    await visitor.get('/count');
    await visitor.get('/logout');
    await until(async () => (await redis.keys()).length === 0);
    expect((await visitor.get('/look')).body).toBeNull();
  });

  test.each([
    ['destroy', 0],
    ['keep', 1],
  ])("unset: '%s' leaves %i sessions", async (unset, left) => {
    const visitor = await start({ unset }, (express) =>
      express.get('/unset', (request, response) => {
        request.session = null;
        response.json('unset');
      }),
    );
    await visitor.get('/count');
    await visitor.get('/unset');
    expect(await redis.keys()).toHaveLength(left);
  });

  test('saveUninitialized: true stores a session that was only read', async () => {
    const visitor = await start({ saveUninitialized: true });
    await visitor.get('/look');
    expect(await redis.keys()).toEqual([keyOf(visitor)]);
  });

  test('saveUninitialized: false sets no cookie and stores nothing for a session that was only read', async () => {
    const visitor = await start({ saveUninitialized: false });
    expect((await visitor.get('/look')).body).toBeNull();
    expect(visitor.cookie).toBeUndefined();
    expect(await redis.keys()).toEqual([]);
    expect(await redis.calls('set')).toBe(0);
  });

  test('an unknown id in a signed cookie gets a new session', async () => {
    const visitor = await start();
    await visitor.get('/count');
    const before = visitor.id;
    await redis.command('DEL', keyOf(visitor));
    expect((await visitor.get('/count')).body).toBe(1);
    expect(visitor.id).not.toBe(before);
    expect(await redis.keys()).toEqual([keyOf(visitor)]);
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

  test('`ids`, `length`, `all` and `clear` work on the sessions of a running app', async () => {
    const store = await open();
    const visitor = await apps.visit(store);
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
