'use strict';

const { randomBytes } = require('node:crypto');
const { setTimeout: delay } = require('node:timers/promises');
const { promisify } = require('node:util');
const express = require('express');
const session = require('express-session');

const SESSION_LIFETIME_MS = 30 * 60 * 1000;
/** The time that a handler spends elsewhere, for example in a database. */
const LOOKUP_MS = 20;
const SLOW_REQUEST_MS = 2_000;
const ITEM = /^item-\d{1,2}$/;
/** A new one for each run: the demo's sessions end with it. */
const SECRET = randomBytes(32).toString('hex');

/** Returns the app that runs on every store: sign in, fill a cart, sign out. */
function createShop(store, path) {
  const shop = express.Router();
  shop.use(
    session({
      store,
      secret: SECRET,
      name: 'connect-redis-native-demo',
      resave: false,
      saveUninitialized: false,
      cookie: { path, maxAge: SESSION_LIFETIME_MS, sameSite: 'lax' },
    }),
  );

  // A new session ID for each sign-in: one that an attacker planted in the browser must not become a signed-in one.
  shop.post('/sign-in', async (req, res) => {
    await call(req.session, 'regenerate');
    req.session.name = 'Ada';
    await call(req.session, 'save');
    res.json({});
  });

  shop.get('/session', (req, res) => {
    const items = Object.keys(req.session).filter((key) => ITEM.test(key));
    res.json({ name: req.session.name ?? null, items });
  });

  shop.post('/cart/:item', async (req, res, next) => {
    const { item } = req.params;
    if (!ITEM.test(item)) return next();
    await delay(LOOKUP_MS);
    req.session[item] = true; // one top-level key per item, so that `onConflict: 'merge'` keeps them all
    await call(req.session, 'save');
    res.json({});
  });

  shop.post('/slow', async (req, res) => {
    // The session is loaded. The headers inform the page of it.
    res.type('json').flushHeaders();
    await delay(SLOW_REQUEST_MS);
    req.session.lastVisit = new Date();
    const result = await call(req.session, 'save');
    res.end(JSON.stringify({ discarded: result === 'discarded' }));
  });

  shop.post('/sign-out', async (req, res) => {
    await call(req.session, 'destroy');
    res.json({});
  });

  return shop;
}

/** Calls a method of a session, such as `save`, and returns its result. */
function call(session, method) {
  return promisify(session[method]).call(session);
}

module.exports = { createShop, SECRET };
