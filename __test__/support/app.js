'use strict';

const { once } = require('node:events');
const express = require('express');
const session = require('express-session');

const COOKIE = 'connect.sid';

/** A browser as far as sessions are concerned: stores the cookie that the server sets. */
class Visitor {
  #origin;
  #name;
  cookie;

  constructor(origin, name) {
    this.#origin = origin;
    this.#name = name;
  }

  get(path) {
    return this.send('GET', path);
  }

  async send(method, path) {
    const name = this.#name;
    const headers = this.cookie === undefined ? {} : { cookie: `${name}=${this.cookie}` };
    const response = await fetch(this.#origin + path, { method, headers });
    const set = response.headers.getSetCookie().find((header) => header.startsWith(`${name}=`));
    if (set !== undefined) this.cookie = set.slice(name.length + 1).split(';')[0];
    const text = await response.text();
    return { status: response.status, setCookie: set, body: text && JSON.parse(text) };
  }

  /** The id in the signed cookie. */
  get id() {
    return decodeURIComponent(this.cookie).slice('s:'.length).split('.')[0];
  }
}

/** Serves an Express app with sessions in `store` on a free port; `routes` adds to it. */
async function serve(store, options, routes) {
  const app = express();
  const middleware = session({ store, secret: 'test', resave: false, saveUninitialized: false, ...options });
  routes(app, middleware);
  app.use((error, _request, response, _next) => {
    response.status(500).json({ code: error.code, message: error.message });
  });
  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const origin = `http://127.0.0.1:${server.address().port}`;
  return {
    visitor: (name = COOKIE) => new Visitor(origin, name),
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** A handler that counts the visits of a session, and responds with the count. */
function count(request, response) {
  request.session.count = (request.session.count ?? 0) + 1;
  response.json(request.session.count);
}

/** Returns the key of a visitor's session under the default prefix. */
const keyOf = (visitor) => `sess:${visitor.id}`;

module.exports = { serve, count, keyOf };
