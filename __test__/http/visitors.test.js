'use strict';

const { AsyncLocalStorage } = require('node:async_hooks');
const { styles } = require('../support/stores.js');
const { useApps } = require('./apps.js');

const apps = useApps();

const times = (count, visit) => Promise.all(Array.from({ length: count }, (_, n) => visit(n)));

describe.each(Object.entries(apps.stores))('an Express app on %s', (_name, open) => {
  test('fifty concurrent visitors have separate sessions', async () => {
    await apps.visit(await open());
    const counts = await times(50, async (n) => {
      const visitor = apps.visitor();
      for (let time = 0; time <= n % 5; time++) await visitor.get('/count');
      return (await visitor.get('/look')).body;
    });
    expect(counts).toEqual(Array.from({ length: 50 }, (_, n) => (n % 5) + 1));
  });

  test('concurrent requests of one visitor see the same session', async () => {
    const visitor = await apps.visit(await open());
    await visitor.get('/count');
    const seen = await times(40, () => visitor.get('/look'));
    expect(seen.map(({ body }) => body)).toEqual(Array(40).fill(1));
  });

  test('the async context from before the session middleware is current after it', async () => {
    const context = new AsyncLocalStorage();
    await apps.serve(await open(), {}, (express, middleware) => {
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
    await times(40, async (n) => {
      const visitor = apps.visitor();
      await visitor.get(`/${n}`);
      expect((await visitor.get(`/${n}`)).body).toEqual([`/${n}`, `/${n}`]);
    });
  });

  test.each(Object.entries(styles))(
    'the store called in a handler in %s style keeps the async context of the request',
    async (_style, call) => {
      const context = new AsyncLocalStorage();
      const store = await open();
      await apps.serve(store, {}, (express) => {
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
      await times(40, async (n) => {
        expect((await apps.visitor().get(`/${n}`)).body).toEqual(Array(5).fill(`/${n}`));
      });
    },
  );
});
