'use strict';

// Runs an app with express-openid-connect in its own process: as `app.js`. Its visitors have logged in already.

const express = require('express');
const { auth } = require('express-openid-connect');
const onLogoutToken = require('express-openid-connect/lib/hooks/backchannelLogout/onLogoutToken.js');
const { RedisStore } = require('../../..');
const { recordEvents } = require('../../support/session-events.js');

const NAME = 'connect.sid';
const gates = new Map();
const discarded = [];

function controls(app, store, events) {
  app.get('/waits/:gate', ({ params }, response) => response.json(gates.has(params.gate)));
  app.get('/open/:gate', ({ params }, response) => {
    gates.get(params.gate)();
    gates.delete(params.gate);
    response.json('open');
  });
  app.get('/discarded', (_request, response) => response.json(discarded));
  app.get('/events', (_request, response) => response.json(events));
  app.get('/back-channel', async ({ query }, response) => {
    const session = { store, rolling: true, rollingDuration: 3600, absoluteDuration: 7200 };
    await onLogoutToken(query, { session });
    response.json('logged out');
  });
}

function main({ url, storeOptions, id }) {
  const store = new RedisStore({ url, ...storeOptions });
  store.on('discarded', (event) => discarded.push(event));
  const app = express();
  controls(app, store, recordEvents(store));
  app.use(
    auth({
      authRequired: false,
      secret: 'a secret of at least 32 characters',
      baseURL: 'http://127.0.0.1',
      clientID: 'test',
      clientSecret: 'test',
      authorizationParams: { response_type: 'code' },
      issuerBaseURL: 'https://issuer.example',
      routes: { login: false, logout: false, callback: false },
      session: { store, name: NAME, ...(id && { genid: () => id }) },
    }),
  );
  app.get('/look', (request, response) => response.json(request[NAME]));
  app.get('/keep', (request, response) => {
    Object.assign(request[NAME], request.query);
    response.json('kept');
  });
  app.get('/slow/:gate', async (request, response) => {
    await new Promise((resolve) => gates.set(request.params.gate, resolve));
    Object.assign(request[NAME], request.query);
    response.json('saved');
  });
  // As the middleware's own logout does.
  app.get('/logout', (request, response) => {
    request[NAME] = undefined;
    response.json('out');
  });
  app.use(({ code, message }, _request, response, _next) => response.status(500).json({ code, message }));
  const server = app.listen(0, '127.0.0.1', () => process.send(server.address().port));
  process.on('disconnect', () => process.exit());
}

main(JSON.parse(process.argv[2]));
