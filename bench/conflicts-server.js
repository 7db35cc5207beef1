'use strict';

// Runs an Express app in its own process in which each request adds its own key to the visitor's session. The
// arguments: the URL of Redis and `onConflict`.

const { once } = require('node:events');
const express = require('express');
const session = require('express-session');
const { RedisStore } = require('connect-redis-native');
const { serve } = require('./children.js');

const [url, onConflict] = process.argv.slice(2);
const store = new RedisStore({ url, onConflict });
const app = express();
app.use(
  session({
    store,
    secret: 'what signs the cookies of this benchmark',
    resave: false,
    saveUninitialized: false,
    cookie: { maxAge: 3_600_000 },
  }),
);
app.get('/add/:key', (request, response) => {
  request.session[request.params.key] = 1;
  request.session.save((error) => response.status(error ? 500 : 200).end(error?.code));
});
const server = app.listen(0, '127.0.0.1');
// A connection that was idle for long must not end while its client sends.
server.keepAliveTimeout = 0;

serve({
  async port() {
    if (!server.listening) await once(server, 'listening');
    return server.address().port;
  },
});
