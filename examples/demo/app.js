'use strict';

const path = require('node:path');
const express = require('express');
const session = require('express-session');
const goods = require('./goods.js');
const { LONGEST_NAME, messagePage, shopPage, signInPage } = require('./pages.js');

const SESSION_LIFETIME_MS = 30 * 60 * 1000;
/** The browser sends a host's cookies to all of its ports, so the name must not be that of another app. */
const COOKIE = 'connect-redis-native-demo';

/** Returns the demo as an Express app: a shop that remembers its visitors and their carts. */
function createApp({ store, secret }) {
  const app = express();
  app.disable('x-powered-by');
  app.use(express.static(path.join(__dirname, 'public')));
  app.use((_req, res, next) => {
    res.set({
      'Cache-Control': 'no-store', // going back after signing out must not show the shop
      'Content-Security-Policy': "default-src 'self'; form-action 'self'; frame-ancestors 'none'",
    });
    next();
  });
  app.use(
    session({
      store,
      secret,
      name: COOKIE,
      resave: false,
      saveUninitialized: false,
      rolling: true,
      cookie: { maxAge: SESSION_LIFETIME_MS, sameSite: 'lax', secure: 'auto' },
    }),
  );
  app.use(express.urlencoded({ extended: false }));

  app.get('/', (req, res) => {
    if (!req.session.name) {
      res.send(signInPage());
      return;
    }
    req.session.views += 1;
    res.send(shopPage(req.session));
  });

  app.post('/sign-in', (req, res, next) => {
    const name = typeof req.body?.name === 'string' ? req.body.name.trim().slice(0, LONGEST_NAME) : '';
    if (name === '') {
      res.status(422).send(signInPage({ problem: 'Please enter a name.' }));
      return;
    }
    // A session id that was planted in the browser before must not become that of a signed-in user.
    req.session.regenerate((error) => {
      if (error) {
        next(error);
        return;
      }
      Object.assign(req.session, { name, views: 0, cart: {} });
      saveAndGoHome(req, res, next);
    });
  });

  app.post('/sign-out', (req, res, next) => {
    req.session.destroy((error) => {
      if (error) {
        next(error);
        return;
      }
      res.clearCookie(COOKIE);
      res.redirect(303, '/');
    });
  });

  app.post('/cart/:action', (req, res, next) => {
    const { cart } = req.session;
    const item = req.body?.item;
    if (!cart) {
      res.redirect(303, '/');
      return;
    }
    if (!goods.has(item) || !['add', 'remove'].includes(req.params.action)) {
      next();
      return;
    }
    if (req.params.action === 'add') cart[item] = (cart[item] ?? 0) + 1;
    else if (cart[item] > 1) cart[item] -= 1;
    else delete cart[item];
    saveAndGoHome(req, res, next);
  });

  app.use((_req, res) => {
    res.status(404).send(messagePage('Not found', 'There is no such page.'));
  });
  app.use(showError);
  return app;
}

/** Saved before the response, so that it never reports something that Redis did not store. */
function saveAndGoHome(req, res, next) {
  req.session.save((error) => {
    if (error) next(error);
    else res.redirect(303, '/');
  });
}

// Express recognises an error handler by its four parameters.
function showError(error, _req, res, _next) {
  console.error(error.code?.startsWith('ERR_') ? `${error.code}: ${error.message}` : error);
  // express-session saves after the handlers; by then the response has already been sent.
  if (res.headersSent) return;
  if (error.code?.startsWith('ERR_REDIS_') || error.code === 'ERR_STORE_CLOSED') {
    const text =
      'The shop cannot reach its session store. Your session is safe; please try again in a moment.';
    res.status(503).set('Retry-After', '5').send(messagePage('Back in a moment', text));
  } else if (error.status >= 400 && error.status < 500) {
    res.status(error.status).send(messagePage('That did not work', 'The request could not be read.'));
  } else {
    res.status(500).send(messagePage('Something went wrong', 'The error is in the log of the demo.'));
  }
}

module.exports = { createApp };
