'use strict';

// Runs a Fastify app in its own process: as `app.js`, with @fastify/session and the routes that its tests use.

const cookie = require('@fastify/cookie');
const session = require('@fastify/session');
const fastify = require('fastify');
const { RedisStore } = require('../../..');
const { recordEvents } = require('../../support/session-events.js');

/** Reads a session that it does not find from the previous store, and saves it in the new one. */
const migrating = (store, former) => ({
  get(id, callback) {
    store.get(id, (error, session) => (session ? callback(error, session) : former.get(id, callback)));
  },
  set: (id, session, callback) => store.set(id, session, callback),
  destroy: (id, callback) => store.destroy(id, callback),
});

async function main({ url, storeOptions, sessionOptions, idGenerator, wrapper }) {
  const store = new RedisStore({ url, ...storeOptions });
  const former = wrapper === 'migrating' ? new RedisStore({ url, prefix: 'old:' }) : undefined;
  const gates = new Map();
  const discarded = [];
  store.on('discarded', (event) => discarded.push(event));
  const events = recordEvents(store);
  const app = fastify();
  app.get('/waits/:gate', async ({ params }) => JSON.stringify(gates.has(params.gate)));
  app.get('/open/:gate', async ({ params }) => {
    gates.get(params.gate)();
    return JSON.stringify('open');
  });
  app.get('/discarded', async () => discarded);
  app.get('/events', async () => events);
  app.register(async (visitors) => {
    visitors.register(cookie);
    visitors.register(session, {
      store: former ? migrating(store, former) : store,
      ...(idGenerator && { idGenerator: () => idGenerator }),
      secret: 'a secret of at least 32 characters',
      cookieName: 'connect.sid',
      cookie: { secure: false, maxAge: 60_000 },
      ...sessionOptions,
    });
    const keep = (request) => Object.assign(request.session, request.query);
    visitors.get('/look', async (request) => JSON.parse(JSON.stringify(request.session)));
    visitors.get('/keep', async (request) => {
      keep(request);
      return JSON.stringify('kept');
    });
    visitors.get('/logout', async (request) => {
      await request.session.destroy();
      return JSON.stringify('out');
    });
    visitors.get('/regenerate', async (request) => {
      await request.session.regenerate();
      keep(request);
      return JSON.stringify('regenerated');
    });
    visitors.get('/copy/:id', async ({ session, params }) => {
      await store.set(params.id, session);
      return JSON.stringify('copied');
    });
    visitors.get('/slow/:gate', async (request) => {
      await new Promise((resolve) => gates.set(request.params.gate, resolve));
      keep(request);
      return JSON.stringify('saved');
    });
  });
  await app.listen({ port: 0, host: '127.0.0.1' });
  // On a busy machine, a client would send on a connection that is just being closed for idleness.
  app.server.keepAliveTimeout = 0;
  process.send(app.server.address().port);
  process.on('disconnect', () => process.exit());
}

main(JSON.parse(process.argv[2]));
