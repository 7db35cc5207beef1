'use strict';

const { AsyncLocalStorage } = require('node:async_hooks');
const { RedisStore } = require('../..');
const { count, serve } = require('../support/app.js');
const { startRedis } = require('../support/redis.js');
const { closeAll, keepStore } = require('../support/stores.js');
const { until } = require('../support/until.js');

let server;
let store;
let app;

beforeEach(async () => {
  server = await startRedis();
  store = keepStore(new RedisStore({ url: server.url, commandTimeout: 2000 }));
});
afterEach(async () => {
  // A store closes only when its pending operations have ended, which a paused server would delay.
  server.resume();
  await app?.close();
  await closeAll();
  await server.stop();
});

const counting = (express, middleware) => express.use(middleware).get('/count', count);

test('a request without Redis ends with an error, and a later one has a session when Redis is back', async () => {
  app = await serve(store, {}, counting);
  const visitor = app.visitor();
  await visitor.get('/count');
  await server.kill();
  expect(await visitor.get('/count')).toMatchObject({ status: 500, body: { code: 'ERR_REDIS_UNAVAILABLE' } });
  await server.start();
  await until(() => store.status === 'ready');
  // That Redis has lost everything, so the visitor is new.
  expect(await visitor.get('/count')).toMatchObject({ status: 200, body: 1 });
});

test('every request ends with an error while Redis hangs, and has its session afterwards', async () => {
  app = await serve(store, {}, counting);
  const visitors = Array.from({ length: 20 }, () => app.visitor());
  const visit = () => Promise.all(visitors.map((visitor) => visitor.get('/count')));
  await visit();

  server.pause();
  for (const { status, body } of await visit())
    expect({ status, code: body.code }).toEqual({ status: 500, code: 'ERR_REDIS_TIMEOUT' });
  server.resume();
  await until(async () => (await app.visitor().get('/count')).status === 200);

  for (const { status, body } of await visit()) expect({ status, body }).toEqual({ status: 200, body: 2 });
});

test('the visitor gets the response and the app an error when Redis dies while a handler runs', async () => {
  const errors = [];
  app = await serve(store, {}, (express, middleware) => {
    express.use(middleware).get('/count', async (request, response) => {
      await server.kill();
      count(request, response);
    });
    // express-session reports a failed save after the response has begun.
    express.use((error, _request, response, next) => {
      errors.push({ code: error.code, sent: response.headersSent });
      if (!response.headersSent) next(error);
    });
  });

  expect(await app.visitor().get('/count')).toMatchObject({ status: 200, body: 1 });
  expect(errors).toEqual([{ code: 'ERR_REDIS_UNAVAILABLE', sent: true }]);
});

test.each(['save', 'reload', 'regenerate', 'destroy'])(
  'session.%s passes an error to its callback in the async context of the request when Redis is gone',
  async (method) => {
    const context = new AsyncLocalStorage();
    app = await serve(store, {}, (express, middleware) => {
      express.use((request, _response, next) => context.run(request.url, next));
      express.use(middleware).get('/gone', async (request, response) => {
        await server.kill();
        request.session[method]((error) => response.json({ code: error?.code, context: context.getStore() }));
      });
    });

    const { body } = await app.visitor().get('/gone');
    expect(body).toEqual({ code: 'ERR_REDIS_UNAVAILABLE', context: '/gone' });
  },
);
