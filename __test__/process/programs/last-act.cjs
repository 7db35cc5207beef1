'use strict';

// Tests for the test runner of a runtime: the last act of each kind of program, named by LAST_ACT. The runner ends the
// environment right after it, and may still run what was scheduled before.

const assert = require('node:assert');
const { once } = require('node:events');
const { test } = require('node:test');
const express = require('express');
const session = require('express-session');
const { RedisStore } = require('../../..');

const { REDIS_URL: url, LAST_ACT: lastAct } = process.env;

/** Calls store methods for as long as the runtime runs timers, also after the end of the tests. */
function keepUsing(store) {
  const use = () => {
    const session = { cookie: {} };
    try {
      store.set('later', session, () => {});
      store.get('later', () => {});
      store.touch('later', session, () => {});
      store.length(() => {});
      store.ids(() => {});
      store.scanIterator?.();
      store.prefix = 'other:';
      store.close().catch(() => {});
      new RedisStore({ url }).close().catch(() => {});
    } catch (error) {
      if (error.code !== 'ERR_STORE_CLOSED') throw error;
    }
  };
  const timer = setInterval(use, 0);
  timer.unref();
  setImmediate(use);
}

const lastActs = {
  async 'close a store'() {
    const store = new RedisStore({ url });
    await store.set('a', { cookie: {} });
    assert.deepEqual(await store.get('a'), { cookie: {} });
    await store.close();
  },

  async 'close an Express app'() {
    const store = new RedisStore({ url });
    const app = express();
    app.use(session({ store, secret: 'secret', resave: false, saveUninitialized: true }));
    app.get('/', (request, response) => response.json(request.session.cookie));
    const server = app.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const response = await fetch(`http://127.0.0.1:${server.address().port}/`);
    assert.equal(response.status, 200);
    await response.text();
    server.close();
    server.closeAllConnections?.();
    await store.close();
  },

  async 'leave operations in flight'() {
    const store = new RedisStore({ url, cache: true });
    await store.set('a', { cookie: {} });
    for (let n = 0; n < 1000; n++) store.get(`a${n}`, () => {});
    store.all(() => {});
  },

  async 'leave timers that use the store'() {
    const stores = [new RedisStore({ url }), new RedisStore({ url, cache: true })];
    for (const store of stores) {
      await store.set('a', { cookie: {} });
      await store.get('a');
      keepUsing(store);
    }
  },
};

test(lastAct, lastActs[lastAct]);
