'use strict';

const express = require('express');
const session = require('express-session');

const LIFETIME_MS = 30 * 60 * 1000;
const ACCOUNT = /^[\w-]{8,64}$/;

/** Returns the pages on which users see where they are signed in, and end sessions. */
function createDevices(store, { secret, path }) {
  const devices = express.Router();
  devices.use(
    session({
      store,
      secret,
      name: 'connect-redis-native-demo',
      resave: false,
      saveUninitialized: false,
      cookie: { path, maxAge: LIFETIME_MS, sameSite: 'lax' },
    }),
  );

  // An app checks a password here.
  devices.post('/sign-in/:account/:device', async (req, res, next) => {
    const { account, device } = req.params;
    if (!ACCOUNT.test(account)) return next();
    await req.session.regenerate();
    Object.assign(req.session, { userId: account, device });
    await req.session.save();
    res.json({});
  });

  // A page may contain handles: nobody can compute a session's ID from one.
  devices.get('/', async (req, res) => {
    const sessions = await store.forRequest(req).list();
    res.json(
      sessions.map(({ handle, current, session: { device }, createdAt, lastSeenAt }) => {
        return { handle, current, device, createdAt, lastSeenAt };
      }),
    );
  });

  devices.delete('/others', async (req, res) => {
    res.json({ ended: await store.forRequest(req).destroyOthers() });
  });

  // `destroy` returns false unless the session is one of the same user.
  devices.delete('/:handle', async (req, res, next) => {
    if (!(await store.forRequest(req).destroy(req.params.handle))) return next();
    res.json({ ended: 1 });
  });

  return devices;
}

module.exports = { createDevices };
