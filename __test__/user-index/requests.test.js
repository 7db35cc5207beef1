'use strict';

const express = require('express');
const session = require('express-session');
const { useRedis } = require('../support/redis.js');
const { closeAll, openStore } = require('../support/stores.js');
const { userId } = require('./support.js');

const redis = useRedis();
afterEach(closeAll);

/** Starts an app with the routes of a page of devices. Returns a function that sends a request with a cookie. */
async function startApp(store) {
  const app = express();
  app.use(session({ store, secret: 'test', resave: false, saveUninitialized: false }));
  app.post('/login/:user', (req, res) => {
    req.session.userId = req.params.user;
    res.end();
  });
  app.get('/devices', async (req, res) => res.json(await store.forRequest(req).list()));
  app.delete('/devices/:handle', async (req, res) =>
    res.json(await store.forRequest(req).destroy(req.params.handle)),
  );
  app.post('/logout-others', async (req, res) => res.json(await store.forRequest(req).destroyOthers()));
  app.post('/logout-all', async (req, res) => res.json(await store.forRequest(req).destroyAll()));
  const server = await new Promise((resolve) => {
    const started = app.listen(0, '127.0.0.1', () => resolve(started));
  });
  const send = async (method, path, cookie = '') => {
    const response = await fetch(`http://127.0.0.1:${server.address().port}${path}`, {
      method,
      headers: { cookie },
    });
    const text = await response.text();
    const set = response.headers.get('set-cookie')?.split(';')[0] ?? cookie;
    return { body: text === '' ? undefined : JSON.parse(text), cookie: set };
  };
  return { send, close: () => new Promise((resolve) => server.close(resolve)) };
}

test('`forRequest` lists and ends the sessions of the user of a request', async () => {
  const store = await openStore('url', redis.port, { userId, sessionHashKey: 'a secret' });
  const { send, close } = await startApp(store);
  const [laptop, phone, tablet] = await Promise.all(
    ['ann', 'ann', 'ann'].map(async (user) => (await send('POST', `/login/${user}`)).cookie),
  );
  const stranger = (await send('POST', '/login/bob')).cookie;

  const devices = (await send('GET', '/devices', laptop)).body;
  expect(devices.filter(({ current }) => current)).toHaveLength(1);
  expect(devices).toHaveLength(3);
  expect(await send('GET', '/devices')).toMatchObject({ body: [] });

  const own = devices.find(({ current }) => current).handle;
  expect((await send('DELETE', `/devices/${own}`, stranger)).body).toBe(false);
  const ofPhone = (await send('GET', '/devices', phone)).body.find(({ current }) => current).handle;
  expect((await send('DELETE', `/devices/${ofPhone}`, laptop)).body).toBe(true);
  expect((await send('GET', '/devices', phone)).body).toEqual([]);

  expect((await send('POST', '/logout-others', laptop)).body).toBe(1);
  expect((await send('GET', '/devices', tablet)).body).toEqual([]);
  expect((await send('GET', '/devices', laptop)).body).toMatchObject([{ handle: own, current: true }]);

  expect((await send('POST', '/logout-all', laptop)).body).toBe(1);
  expect((await send('POST', '/logout-all', laptop)).body).toBe(0);
  expect((await send('GET', '/devices', stranger)).body).toHaveLength(1);
  await close();
});

test('a session that is destroyed on behalf of its user emits `destroyed`', async () => {
  const store = await openStore('url', redis.port, { userId });
  const destroyed = [];
  store.on('destroyed', ({ operation, sessionHash }) => destroyed.push({ operation, sessionHash }));
  for (const sid of ['a', 'b']) await store.set(sid, { cookie: {}, userId: 1 });
  expect(await store.destroyAllOf(1)).toBe(2);
  await new Promise((resolve) => setImmediate(resolve));
  expect(destroyed).toHaveLength(2);
  expect(destroyed).toEqual(
    expect.arrayContaining(
      ['a', 'b'].map((sid) => ({ operation: 'destroy', sessionHash: store.sessionHash(sid) })),
    ),
  );
});

test('`forRequest` rejects what is no request, and a store without users', async () => {
  const store = await openStore('url', redis.port, { userId });
  expect(() => store.forRequest('req')).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }));
  const without = await openStore('url', redis.port);
  expect(() => without.forRequest({})).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG_VALUE' }));
});
