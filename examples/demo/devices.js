'use strict';

const express = require('express');
const session = require('express-session');

const LIFETIME_MS = 30 * 60 * 1000;
const ACCOUNT = /^[\w-]{8,64}$/;
/** The names of browsers in user agents. Most also contain those of their predecessors, which come later here. */
const BROWSERS = { Edg: 'Edge', OPR: 'Opera', Firefox: 'Firefox', Chrome: 'Chrome', Safari: 'Safari' };

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
    Object.assign(req.session, { userId: account, device, userAgent: req.get('user-agent') });
    await req.session.save();
    res.json({});
  });

  // A page may contain handles: nobody can compute a session's ID from one.
  devices.get('/', async (req, res) => {
    const sessions = await store.forRequest(req).list();
    res.set('Cache-Control', 'no-store').json(
      sessions.map(({ handle, current, session: data, createdAt, lastSeenAt, expiresAt }) => {
        // The session is null if it cannot be read.
        const device = data?.device ?? 'Unknown device';
        return {
          handle,
          current,
          device,
          browser: browserOf(data?.userAgent),
          createdAt,
          lastSeenAt,
          expiresAt,
        };
      }),
    );
  });

  devices.delete('/', async (req, res) => {
    res.json({ ended: await store.forRequest(req).destroyAll() });
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

function browserOf(userAgent = '') {
  const name = Object.keys(BROWSERS).find((each) => userAgent.includes(`${each}/`));
  return BROWSERS[name] ?? 'Unknown browser';
}

module.exports = { createDevices };
