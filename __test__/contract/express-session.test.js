'use strict';

const { EventEmitter } = require('node:events');
const session = require('express-session');
const { useRedis } = require('../support/redis.js');
const { closeAll, openStore, styles } = require('../support/stores.js');
const { asRead, asStored, liveSession, shopVisitor } = require('../support/sessions.js');

const redis = useRedis();
afterEach(closeAll);

let store;
beforeEach(async () => {
  store = await openStore('url', redis.port);
});

test('a store is an express-session Store and an EventEmitter', () => {
  expect(store).toBeInstanceOf(session.Store);
  expect(store).toBeInstanceOf(EventEmitter);
  expect(store.on('custom', () => {}).emit('custom')).toBe(true);
});

test('the express-session middleware sets `generate` on the store and listens to its events', () => {
  session({ store, secret: 'keyboard cat', resave: false, saveUninitialized: false });

  expect(typeof store.generate).toBe('function');
  expect(store.listenerCount('disconnect')).toBeGreaterThan(0);
  expect(store.listenerCount('connect')).toBeGreaterThan(0);
});

test('`load` returns a live session whose cookie has its Date back', async () => {
  const stored = liveSession('abc', shopVisitor());
  await store.set('abc', stored);

  const loaded = await styles.callback(store, 'load', 'abc');

  expect(loaded).toBeInstanceOf(session.Session);
  expect(loaded.id).toBe('abc');
  expect(loaded.cookie.expires).toBeInstanceOf(Date);
  expect(asStored(loaded)).toEqual(asRead(stored));
});

test('`load` returns nothing when the session does not exist', async () => {
  expect(await styles.callback(store, 'load', 'nobody')).toBeUndefined();
});

test('`regenerate` destroys the session of a request and creates another', async () => {
  await store.set('old', liveSession('old'));
  store.generate = (req) => {
    req.sessionID = 'new';
  };
  const req = { sessionID: 'old' };

  await styles.callback(store, 'regenerate', req);

  expect(req.sessionID).toBe('new');
  expect(await redis.keys()).toEqual([]);
});

test('a live session saves, reloads and destroys itself through the store', async () => {
  await redis.command('SET', 'sess:abc', '{}');
  const req = { sessionID: 'abc', sessionStore: store };
  store.createSession(req, { cookie: { originalMaxAge: 60_000, maxAge: 60_000 }, user: 'ann' });

  await styles.callback(req.session, 'save');
  expect(await redis.stored('sess:abc')).toMatchObject({ user: 'ann' });

  await redis.command('SET', 'sess:abc', JSON.stringify({ ...asStored(req.session), user: 'bob' }));
  await styles.callback(req.session, 'reload');
  expect(req.session.user).toBe('bob');

  await styles.callback(req.session, 'destroy');
  expect(await redis.keys()).toEqual([]);
});
