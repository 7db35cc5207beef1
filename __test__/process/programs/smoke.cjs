'use strict';

// Runs an Express app with a store of this package, uses it with its own client, and prints the result.

const assert = require('node:assert');
const { once } = require('node:events');
const express = require('express');
const session = require('express-session');
const { RedisStore } = require('../../..');

async function main(url) {
  const store = new RedisStore({ url });
  const app = express();
  app.use(session({ store, secret: 'secret', resave: false, saveUninitialized: false }));
  app.get('/', (request, response) => {
    request.session.views = (request.session.views ?? 0) + 1;
    response.json(request.session.views);
  });
  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const page = `http://127.0.0.1:${server.address().port}/`;

  const first = await fetch(page);
  assert.equal(await first.json(), 1);
  const cookie = first.headers.get('set-cookie').split(';')[0];
  assert.equal(await (await fetch(page, { headers: { cookie } })).json(), 2);

  const ids = Array.from({ length: 1000 }, (_, n) => `many-${n}`);
  await Promise.all(ids.map((id, n) => store.set(id, { n, cookie: {} })));
  const sessions = await Promise.all(ids.map((id) => store.get(id)));
  assert.deepEqual(
    sessions.map(({ n }) => n),
    ids.map((_, n) => n),
  );
  assert.equal(await store.length(), 1001);
  await new Promise((resolve, reject) => store.clear((error) => (error ? reject(error) : resolve())));
  assert.equal(await store.get(ids[0]), null);

  server.close();
  server.closeAllConnections?.();
  await store.close();
  console.log(store.status);
}

main(process.argv[2]);
