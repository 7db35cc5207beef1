'use strict';

// Visits a Fastify app with sessions in the store and prints the responses, as JSON.

const cookie = require('@fastify/cookie');
const session = require('@fastify/session');
const fastify = require('fastify');
const { RedisStore } = require('../../..');

async function main(url) {
  const store = new RedisStore({ url });
  const app = fastify();
  app.register(cookie);
  app.register(session, { store, secret: 'a secret of at least 32 characters', cookie: { secure: false } });
  app.get('/count', async (request) => {
    request.session.count = (request.session.count ?? 0) + 1;
    return request.session.count;
  });
  app.get('/logout', async (request) => {
    await request.session.destroy();
    return 'out';
  });

  const first = await app.inject('/count');
  const [{ name, value }] = first.cookies;
  const seen = [first.body];
  for (const path of ['/count', '/logout', '/count'])
    seen.push((await app.inject({ url: path, cookies: { [name]: value } })).body);
  console.log(JSON.stringify({ seen, sessions: await store.length() }));
  await app.close();
}

main(process.argv[2]);
