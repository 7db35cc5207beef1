'use strict';

const { RedisStore: Predecessor } = require('connect-redis10');
const { RedisStore } = require('../..');
const { count, serve } = require('../support/app.js');
const { useRedis } = require('../support/redis.js');
const { closeAll, keepStore, openClient } = require('../support/stores.js');

/**
 * For the tests of a suite: Express apps on a Redis of their own, closed after each test.
 */
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
    /** Ways to make a store, by name. */
    stores: {
      'connect-redis-native by url': async (options) =>
        keepStore(new RedisStore({ url: redis.server.url, ...options })),
      'connect-redis-native by client': async (options) =>
        keepStore(new RedisStore({ client: await openClient('redis6', redis.port), ...options })),
      // What holds for the predecessor, too, shows that these tests ask for nothing of our own.
      'connect-redis 10': async (options) =>
        new Predecessor({ client: await openClient('redis6', redis.port), ...options }),
    },
    /** Serves an app as `serve` does, in the place of the one before. */
    async serve(store, options, routes) {
      await close();
      app = await serve(store, options, routes);
      return app;
    },
    /**
     * The same with routes that count visits and tell the count; `routes` adds to them.
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
    /** Another visitor of the same app. */
    visitor: () => app.visitor(),
  };
}

module.exports = { useApps };
