'use strict';

const { RedisStore: Predecessor } = require('connect-redis10');
const { RedisStore } = require('../..');
const { count, serve } = require('../support/app.js');
const { useRedis } = require('../support/redis.js');
const { closeAll, keepStore, openClient } = require('../support/stores.js');

/** For the tests of a suite: Express apps on their own Redis, closed after each test. */
function useApps() {
  const redis = useRedis();
  let app;

  const close = async () => {
    await app?.close();
    app = undefined;
  };
  afterEach(async () => {
    await close();
    await closeAll();
  });

  return {
    redis,
    /** Functions that open a store, by name. */
    stores: {
      'connect-redis-native by url': async (options) =>
        keepStore(new RedisStore({ url: redis.server.url, ...options })),
      'connect-redis-native by client': async (options) =>
        keepStore(new RedisStore({ client: await openClient('redis6', redis.port), ...options })),
      // The predecessor shows that these tests require nothing beyond connect-redis.
      'connect-redis 10': async (options) =>
        new Predecessor({ client: await openClient('redis6', redis.port), ...options }),
    },
    /** Serves an app as `serve` does, in place of the previous one. */
    async serve(store, options, routes) {
      await close();
      app = await serve(store, options, routes);
      return app;
    },
    /**
     * Serves an app with routes that count visits and return the count; `routes` adds to them.
     * @returns a visitor
     */
    async visit(store, options = {}, routes = () => {}) {
      const { visitor } = await this.serve(store, options, (express, middleware) => {
        express.use(middleware);
        express.get('/count', count);
        express.get('/look', (request, response) => response.json(request.session.count ?? null));
        routes(express);
      });
      return visitor();
    },
    /** Returns another visitor of the same app. */
    visitor: () => app.visitor(),
  };
}

module.exports = { useApps };
