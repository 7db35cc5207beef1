'use strict';

const { AsyncLocalStorage } = require('node:async_hooks');
const { RedisStore: Predecessor } = require('connect-redis10');
const { RedisStore } = require('../..');
const { serve } = require('../http/app.js');
const { useRedis } = require('../support/redis.js');
const { closeAll, keepStore, openClient, styles } = require('../support/stores.js');

const redis = useRedis();
let app;

afterEach(async () => {
  await app?.close();
  app = undefined;
  await closeAll();
});

const stores = {
  'connect-redis-native': async (options) => keepStore(new RedisStore({ url: redis.server.url, ...options })),
  // What holds for the predecessor, too, shows that these tests ask for nothing of our own.
  'connect-redis 10': async (options) =>
    new Predecessor({ client: await openClient('redis6', redis.port), ...options }),
};

/** How often Redis was given a command since the test began. */
async function calls(command) {
  const stats = String(await redis.command('INFO', 'commandstats'));
  return Number(new RegExp(`^cmdstat_${command}:calls=(\\d+)`, 'm').exec(stats)?.[1] ?? 0);
}
beforeEach(() => redis.command('CONFIG', 'RESETSTAT'));

describe.each(Object.entries(stores))('an Express app on %s', (_name, open) => {
  let store;
  const start = async (options, routes = () => {}, storeOptions = {}) => {
    store = await open(storeOptions);
    app = await serve(store, options, (express, middleware) => {
      express.use(middleware);
      express.get('/in', (request, response) => {
        request.session.user = 'ann';
        response.json('in');
      });
      express.get('/look', (request, response) => response.json(request.session.user ?? null));
      routes(express);
    });
    return app.visitor();
  };
  const keyOf = (visitor) => `sess:${visitor.id}`;

  test('rolling moves the lifetime in Redis along with the cookie', async () => {
    const visitor = await start({ rolling: true, cookie: { maxAge: 60_000 } });
    await visitor.get('/in');
    await redis.command('PEXPIRE', keyOf(visitor), 5000);

    const { setCookie } = await visitor.get('/look');

    const expires = Date.parse(/Expires=([^;]+)/.exec(setCookie)[1]);
    const lifetime = await redis.lifetime(keyOf(visitor));
    // The cookie's expiry is in whole seconds.
    expect(Math.abs(Date.now() + lifetime - expires)).toBeLessThan(2000);
    expect(lifetime).toBeGreaterThan(5000);
  });

  test('disableTouch: looking does not lengthen the lifetime', async () => {
    const visitor = await start({ cookie: { maxAge: 60_000 } }, undefined, { disableTouch: true });
    await visitor.get('/in');
    await redis.command('PEXPIRE', keyOf(visitor), 5000);
    expect((await visitor.get('/look')).body).toBe('ann');
    expect(await redis.lifetime(keyOf(visitor))).toBeLessThanOrEqual(5000);
  });

  test('a handler that changes maxAge changes the lifetime', async () => {
    const visitor = await start({ cookie: { maxAge: 60_000 } }, (express) =>
      express.get('/remember', (request, response) => {
        request.session.cookie.maxAge = 600_000;
        request.session.remember = true;
        response.json('remembered');
      }),
    );
    await visitor.get('/in');
    await visitor.get('/remember');
    expect(await redis.lifetime(keyOf(visitor))).toBeGreaterThan(500_000);
  });

  test('an explicit save is the only one of its request', async () => {
    const visitor = await start({}, (express) =>
      express.get('/save', (request, response, next) => {
        request.session.user = 'bob';
        request.session.save((error) => (error ? next(error) : response.json('saved')));
      }),
    );
    await visitor.get('/in');
    const before = await calls('set');
    await visitor.get('/save');
    expect((await calls('set')) - before).toBe(1);
    expect((await visitor.get('/look')).body).toBe('bob');
  });

  test('without a session to keep, Redis is left alone', async () => {
    const visitor = await start({ saveUninitialized: false });
    expect((await visitor.get('/look')).body).toBeNull();
    expect(await redis.keys()).toEqual([]);
    expect(await calls('set')).toBe(0);
  });

  test('an unknown id in a signed cookie gets a new session', async () => {
    const visitor = await start();
    await visitor.get('/in');
    const before = visitor.id;
    await redis.command('DEL', keyOf(visitor));
    await visitor.get('/in');
    expect(visitor.id).not.toBe(before);
    expect(await redis.keys()).toEqual([keyOf(visitor)]);
  });

  test('many requests of one visitor at once see the same session', async () => {
    const visitor = await start();
    await visitor.get('/in');
    const seen = await Promise.all(Array.from({ length: 40 }, () => visitor.get('/look')));
    expect(new Set(seen.map(({ body }) => body))).toEqual(new Set(['ann']));
  });

  test.each(Object.entries(styles))(
    'the store used in a handler by %s keeps the context of the request',
    async (_style, call) => {
      const context = new AsyncLocalStorage();
      store = await open();
      app = await serve(store, {}, (express) => {
        express.use((request, _response, next) => context.run(request.url, next));
        express.get('/:n', async (request, response) => {
          const { n } = request.params;
          const seen = [];
          for (const [method, ...args] of [
            ['set', n, { n }],
            ['get', n],
            ['touch', n, { n }],
            ['ids'],
            ['destroy', n],
          ]) {
            await call(store, method, ...args);
            seen.push(context.getStore());
          }
          response.json(seen);
        });
      });

      const answers = await Promise.all(Array.from({ length: 40 }, (_, n) => app.visitor().get(`/${n}`)));

      for (const [n, { body }] of answers.entries()) expect(body).toEqual(Array(5).fill(`/${n}`));
    },
  );
});
