'use strict';

const cookie = require('@fastify/cookie');
const session = require('@fastify/session');
const { RedisStore } = require('connect-redis-native');
const fastify = require('fastify');

const app = fastify();

app.register(cookie);
app.register(session, {
  store: new RedisStore({ url: process.env.REDIS_URL }), // by default, a Redis on this machine
  secret: process.env.SESSION_SECRET ?? 'for development only: at least 32 characters',
  saveUninitialized: false, // a visitor who only reads gets no cookie
  cookie: { maxAge: 30 * 60 * 1000, sameSite: 'lax', secure: 'auto' }, // the lifetime in Redis, too
});

app.get('/', async (request) => {
  request.session.views = (request.session.views ?? 0) + 1;
  return `Views: ${request.session.views}`;
});

app.listen({ port: Number(process.env.PORT ?? 3000) });
