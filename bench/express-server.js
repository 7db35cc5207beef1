'use strict';

// Runs a small Express app with one of the stores in its own process. The arguments name the store, or `none` for the
// app without sessions, and the Redis server.

const { once } = require('node:events');
const express = require('express');
const session = require('express-session');
const { serve } = require('./children.js');
const { startClocks } = require('./clocks.js');
const { DAY_MS, contentOf } = require('./sessions.js');
const { openStore } = require('./stores.js');

const [name, redisUrl] = process.argv.slice(2);
let open;
let server;
let stopClocks;

function newApp(store) {
  const app = express();
  if (!store) {
    const { profile, visits } = contentOf('0.4 KB');
    app.get('/', (_req, res) => res.json({ name: profile.name, visits }));
    return app;
  }
  app.use(
    session({
      store,
      secret: 'what signs the cookies of this benchmark',
      resave: false,
      saveUninitialized: false,
      cookie: { maxAge: DAY_MS, sameSite: 'lax' },
    }),
  );
  app.get('/sign-in', (req, res) => {
    Object.assign(req.session, contentOf('0.4 KB'));
    res.end();
  });
  app.get('/', (req, res) => {
    if (!req.session.profile) return res.sendStatus(401);
    res.json({ name: req.session.profile.name, visits: req.session.visits });
  });
  return app;
}

serve({
  async listen() {
    if (name !== 'none') open = await openStore(name, redisUrl);
    server = newApp(open?.store).listen(0, '127.0.0.1');
    await once(server, 'listening');
    return server.address().port;
  },

  startClocks() {
    stopClocks = startClocks();
  },

  stopClocks() {
    return stopClocks();
  },

  async close() {
    server.closeAllConnections();
    server.close();
    await open?.close();
  },
});
