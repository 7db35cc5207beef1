'use strict';

const { RedisStore } = require('connect-redis-native');
const express = require('express');
const session = require('express-session');

const app = express();

app.use(
  session({
    store: new RedisStore({ url: process.env.REDIS_URL }), // by default, a Redis on this machine
    secret: process.env.SESSION_SECRET ?? 'for development only',
    resave: false, // an unchanged session gets a new lifetime, and nothing is written
    saveUninitialized: false, // a visitor who only reads gets no cookie
    cookie: { maxAge: 30 * 60 * 1000, sameSite: 'lax' }, // the lifetime in Redis, too
  }),
);

app.get('/', (req, res) => {
  req.session.views = (req.session.views ?? 0) + 1;
  res.send(`Views: ${req.session.views}`);
});

app.listen(process.env.PORT ?? 3000);
