'use strict';

// Runs an Express app in its own process. Its argument, in JSON: the kind of store, the URL of Redis, and options for
// the store and for express-session. Prints its port, and ends with its parent.

const express = require('express');
const session = require('express-session');

const kinds = {
  'connect-redis-native': async (url, options) => {
    const { RedisStore } = require('../../..');
    return new RedisStore({ url, ...options });
  },
  'connect-redis 8.1': async (url, options) => {
    const { RedisStore } = require('connect-redis8');
    const { Redis } = require('ioredis');
    return new RedisStore({ client: new Redis(url), ...options });
  },
  'connect-redis 10': async (url, options) => {
    const { RedisStore } = require('connect-redis10');
    const { createClient } = require('redis');
    const client = createClient({ url });
    await client.connect();
    return new RedisStore({ client, ...options });
  },
};

/** Options that are functions, which JSON cannot carry. */
const functions = {
  onConflict: {
    union: (base, theirs, mine) => ({ ...base, ...theirs, ...mine, seen: [base, theirs].map(Object.keys) }),
    throw: () => {
      throw new Error('no answer');
    },
  },
  ttl: { hour: () => 3600, maxAge: ({ cookie }) => cookie.maxAge / 1000 },
  serializer: {
    base64: {
      stringify: (value) => Buffer.from(JSON.stringify(value)).toString('base64'),
      parse: async (text) => JSON.parse(Buffer.from(text, 'base64').toString()),
    },
  },
};

/** Requests that have loaded their session and wait for `/open`. */
const gates = new Map();
const discarded = [];

function routes(app) {
  const keep = (request) => Object.assign(request.session, request.query);

  app.get('/look', ({ session: { cookie, ...content } }, response) => {
    response.json({ ...content, expires: cookie.expires, maxAge: cookie.maxAge });
  });
  app.get('/keep', (request, response) => {
    keep(request);
    response.json('kept');
  });
  // A handler that saves the session itself.
  app.get('/save', (request, response, next) => {
    keep(request);
    request.session.save((error) => (error ? next(error) : response.json('saved')));
  });
  app.get('/forget/:key', (request, response) => {
    delete request.session[request.params.key];
    response.json('forgotten');
  });
  app.get('/logout', (request, response, next) => {
    request.session.destroy((error) => (error ? next(error) : response.json('out')));
  });
  app.get('/end-by-cookie', (request, response, next) => {
    request.session.cookie.maxAge = -1;
    request.session.save((error) => (error ? next(error) : response.json('ended')));
  });
  // A slow request: has loaded its session, and continues when its gate is opened.
  app.get('/slow/:gate', async (request, response, next) => {
    await new Promise((resolve) => gates.set(request.params.gate, resolve));
    keep(request);
    request.session.save((error) => (error ? next(error) : response.json('saved')));
  });
  app.get('/twice/:gate', (request, response, next) => {
    keep(request);
    request.session.save(async (error) => {
      if (error) return next(error);
      await new Promise((resolve) => gates.set(request.params.gate, resolve));
      request.session.twice = true;
      request.session.save((failure) => (failure ? next(failure) : response.json('saved twice')));
    });
  });
  app.get('/slow-end/:gate', async (request, response) => {
    await new Promise((resolve) => gates.set(request.params.gate, resolve));
    keep(request);
    response.json('ended');
  });
}

/** Adds routes for the test, which are not for visitors. */
function controls(app, store) {
  app.get('/waits/:gate', (request, response) => response.json(gates.has(request.params.gate)));
  app.get('/open/:gate', (request, response) => {
    gates.get(request.params.gate)();
    gates.delete(request.params.gate);
    response.json('open');
  });
  app.get('/discarded', (_request, response) => response.json(discarded));
  app.get('/count/all', async (_request, response) => {
    const sessions = await new Promise((resolve, reject) => {
      store.all((error, found) => (error ? reject(error) : resolve(found)));
    });
    response.json(sessions.length);
  });
  app.get('/store/:method', async (request, response) => {
    const result = await new Promise((resolve, reject) => {
      store[request.params.method]((error, value) => (error ? reject(error) : resolve(value)));
    });
    response.json(result ?? null);
  });
}

async function main({ kind, url, storeOptions = {}, sessionOptions = {} }) {
  const options = { ...storeOptions };
  for (const [name, choices] of Object.entries(functions))
    if (choices[options[name]] !== undefined) options[name] = choices[options[name]];
  const store = await kinds[kind](url, options);
  store.on('discarded', (event) => discarded.push(event));
  const app = express();
  controls(app, store);
  app.use(session({ store, secret: 'test', resave: false, saveUninitialized: false, ...sessionOptions }));
  routes(app);
  app.use((error, _request, response, _next) => {
    const { code, message, stored } = error;
    response.status(500).json({ code, message, stored });
  });
  const server = app.listen(0, '127.0.0.1', () => process.send(server.address().port));
  // On a busy machine, a client would send on a connection that is just being closed for idleness.
  server.keepAliveTimeout = 0;
  process.on('disconnect', () => process.exit());
}

main(JSON.parse(process.argv[2]));
