'use strict';

const path = require('node:path');
const express = require('express');
const { createDevices } = require('./devices.js');
const { createMeters } = require('./panels/meters.js');
const { createOutage } = require('./panels/outage.js');
const { createShop, SECRET } = require('./shop.js');

/** Returns the demo as an Express app: the page, the same shop on several stores, and what the panels need. */
function createApp({ redis, stores, place }) {
  const app = express();
  app.disable('x-powered-by');
  app.use((_req, res, next) => {
    res.set('Content-Security-Policy', "default-src 'self'; form-action 'self'; frame-ancestors 'none'");
    next();
  });
  app.use(express.static(path.join(__dirname, 'public')));

  app.use('/connect-redis', createShop(stores.peer, '/connect-redis'));
  app.use('/native', createShop(stores.native, '/native'));
  for (const [name, store] of stores.measured)
    app.use(`/measured/${name}`, createShop(store, `/measured/${name}`));
  app.use('/devices', createDevices(stores.devices, { secret: SECRET, path: '/devices' }));

  const outage = createOutage({ redis, store: stores.native, place });
  app.use('/redis', outage.router);
  app.use('/meters', createMeters(stores));
  app.locals.endStreams = outage.endStreams;

  app.use((_req, res) => {
    res.status(404).json({ message: 'There is no such page.' });
  });
  app.use(showError);
  return app;
}

// Express recognises an error handler by its four parameters.
function showError(error, _req, res, _next) {
  // express-session touches a session after the response was sent; and the demo may have ended before it.
  if (res.headersSent || res.destroyed) {
    res.end();
    return;
  }
  const { code, message } = error;
  if (code?.startsWith('ERR_REDIS_')) {
    res.status(503).set('Retry-After', '5').json({ code, message });
    return;
  }
  console.error(error);
  res.status(error.status ?? 500).json({ message: 'The error is in the log of the demo.' });
}

module.exports = { createApp };
