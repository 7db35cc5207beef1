'use strict';

// An app that follows docs/asvs.md, in two processes' worth of stores. Each title begins with a line of the OWASP
// Application Security Verification Standard 5.0; a test in `docs` compares them with that page.

const { setTimeout: pause } = require('node:timers/promises');
const express = require('express');
const session = require('express-session');
const { useRedis } = require('../support/redis.js');
const { closeAll, openStore } = require('../support/stores.js');
const { until } = require('../support/until.js');

const NAME = 'connect.sid';
/** A sensitive operation requires an authentication that is not older, in ms. */
const FRESH_MS = 5 * 60 * 1000;

const redis = useRedis();
const servers = [];
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
  await closeAll();
});

/** Authenticates a user, with a new session in place of the present one. Saves it, so that a handler sees an error. */
async function authenticate(req, userId) {
  await req.session.regenerate();
  Object.assign(req.session, { userId, authenticatedAt: Date.now(), idpSid: `idp-${userId}` });
  await req.session.save();
}

/** Starts the app on a store with these options. Returns its browsers. */
async function startApp(options = {}) {
  const store = await openStore('url', redis.port, {
    promises: true,
    indexes: { user: ({ userId }) => userId, idp: ({ idpSid }) => idpSid },
    ...options,
  });
  /** A request to `/slow` calls `loaded`, then waits for `end`. */
  const slow = { loaded: () => {}, end: Promise.resolve() };
  const app = express();
  app.use(session({ store, secret: 'of-the-app', resave: false, saveUninitialized: false }));
  app.post('/login/:user', async (req, res) => {
    await authenticate(req, req.params.user);
    res.json(req.sessionID);
  });
  app.get('/public', (req, res) => res.json(req.session.userId ?? null));
  app.use((req, res, next) => (req.session.userId === undefined ? res.sendStatus(401) : next()));

  app.get('/me', (req, res) => res.json(req.session.userId));
  app.post('/reauthenticate', async (req, res) => {
    await authenticate(req, req.session.userId);
    res.json(req.sessionID);
  });
  app.post('/logout', async (req, res) => {
    await req.session.destroy();
    res.json('logged out');
  });
  app.post('/slow', async (req, res) => {
    slow.loaded();
    await slow.end;
    req.session.basket = 1;
    res.json(await req.session.save());
  });
  app.post('/password', async (req, res) => {
    const { userId } = req.session;
    res.json(await store.destroyAllOf(userId, { except: req.sessionID, notBefore: new Date() }));
  });
  const requireFresh = (req, res, next) => {
    const isFresh = Date.now() - req.session.authenticatedAt < FRESH_MS;
    return isFresh ? next() : res.sendStatus(403);
  };
  app.post('/email', requireFresh, (_req, res) => res.json('changed'));
  app.get('/sessions', async (req, res) => res.json(await store.forRequest(req).list()));
  app.delete('/sessions/:handle', requireFresh, async (req, res) =>
    res.json(await store.forRequest(req).destroy(req.params.handle)),
  );
  app.delete('/sessions', requireFresh, async (req, res) =>
    res.json(await store.forRequest(req).destroyAll()),
  );
  app.use((error, _req, res, _next) => res.status(409).json(error.code));

  const server = app.listen(0, '127.0.0.1');
  servers.push(server);
  await new Promise((resolve) => server.once('listening', resolve));
  const origin = `http://127.0.0.1:${server.address().port}`;
  return {
    store,
    slow,
    /** Sends a request. Returns the status, the body and the cookie that the browser has then. */
    async send(method, path, cookie) {
      const headers = cookie === undefined ? {} : { cookie };
      const response = await fetch(origin + path, { method, headers });
      const text = await response.text();
      const set = response.headers.getSetCookie().map((header) => header.split(';')[0]);
      return {
        status: response.status,
        body: /^[[{"\d]|^(true|false|null)$/.test(text) ? JSON.parse(text) : text,
        cookie: set[0] ?? cookie,
      };
    },
    async logIn(user) {
      const { body: id, cookie } = await this.send('POST', `/login/${user}`);
      return { id, cookie };
    },
    /** Returns the status of the page of a signed-in user. */
    status: async (cookie) => (await fetch(`${origin}/me`, { headers: { cookie } })).status,
  };
}

/** Resolves once all of these apps answer a cookie with 401. */
const untilEnded = (apps, cookie) =>
  until(async () => (await Promise.all(apps.map((app) => app.status(cookie)))).every((code) => code === 401));

test.each(['destroy-oldest', 'reject'])(
  '7.1.2: beyond the number of parallel sessions, onSessionLimit %s applies',
  async (onSessionLimit) => {
    const app = await startApp({ maxSessionsOf: 2, onSessionLimit });
    const [first, second] = [await app.logIn('ann'), await app.logIn('ann')];
    const third = await app.send('POST', '/login/ann');
    if (onSessionLimit === 'reject') expect(third).toMatchObject({ status: 409, body: 'ERR_SESSION_LIMIT' });
    const cookies = [first, second, third].map(({ cookie }) => cookie ?? '');
    const codes = await Promise.all(cookies.map((cookie) => app.status(cookie)));
    expect(codes.map((code) => code === 200)).toEqual(
      onSessionLimit === 'reject' ? [true, true, false] : [false, true, true],
    );
  },
);

test('7.2.1: a token that the app did not issue, or that was changed, is no session', async () => {
  const app = await startApp();
  const { id, cookie } = await app.logIn('ann');
  expect(await app.status(cookie)).toBe(200);
  expect(await app.status(`${cookie.slice(0, -1)}${cookie.endsWith('A') ? 'B' : 'A'}`)).toBe(401);
  expect(await app.status(`${NAME}=${id}`)).toBe(401);
  await redis.command('DEL', `sess:${id}`);
  expect(await app.status(cookie)).toBe(401);
});

test('7.2.2: each login gets a token of its own', async () => {
  const app = await startApp();
  const ids = [];
  for (let n = 0; n < 20; n++) ids.push((await app.logIn('ann')).id);
  expect(new Set(ids).size).toBe(20);
});

test('7.2.3: a token has 24 random bytes', async () => {
  const app = await startApp();
  const { id } = await app.logIn('ann');
  expect(Buffer.from(id, 'base64url')).toHaveLength(24);
});

test('7.2.4: a login and a reauthentication replace the token, and end the former one', async () => {
  const app = await startApp();
  const former = await app.logIn('ann');
  const next = await app.send('POST', '/reauthenticate', former.cookie);
  expect(next.body).not.toBe(former.id);
  expect(await app.status(former.cookie)).toBe(401);
  const again = await app.send('POST', '/login/ann', next.cookie);
  expect(await app.status(next.cookie)).toBe(401);
  expect(await app.status(again.cookie)).toBe(200);
});

test('7.3.1: a session that is not used for the idleTimeout ends', async () => {
  const app = await startApp({ idleTimeout: 0.5 });
  const { id, cookie } = await app.logIn('ann');
  await until(async () => (await redis.command('EXISTS', `sess:${id}`)) === 0);
  expect(await app.status(cookie)).toBe(401);
});

test('7.3.2: a session in use ends at its maxLifetime', async () => {
  const app = await startApp({ maxLifetime: 1 });
  const begin = performance.now();
  const { cookie } = await app.logIn('ann');
  await untilEnded([app], cookie);
  expect(performance.now() - begin).toBeGreaterThanOrEqual(990);
});

describe('in all processes, with a cache', () => {
  let apps;
  beforeEach(async () => {
    apps = [await startApp({ cache: true }), await startApp({ cache: true })];
  });
  /** Logs in, and has both processes cache the session. */
  const logIn = async (user) => {
    const found = await apps[0].logIn(user);
    for (const app of apps) expect(await app.status(found.cookie)).toBe(200);
    return found;
  };

  test('7.4.1: a logout ends the session, also for a request in progress', async () => {
    const { id, cookie } = await logIn('ann');
    const { slow } = apps[1];
    const loaded = new Promise((resolve) => {
      slow.loaded = resolve;
    });
    let end;
    slow.end = new Promise((resolve) => {
      end = resolve;
    });
    const response = apps[1].send('POST', '/slow', cookie);
    await loaded;
    await apps[0].send('POST', '/logout', cookie);
    await untilEnded(apps, cookie);
    end();
    expect(await response).toMatchObject({ status: 200, body: 'discarded' });
    expect(await redis.command('EXISTS', `sess:${id}`)).toBe(0);
    for (const app of apps) expect(await app.status(cookie)).toBe(401);
  });

  test('7.4.2: disabling an account ends all of its sessions, and logins that were checked before', async () => {
    const [phone, laptop, other] = [await logIn('ann'), await logIn('ann'), await logIn('bob')];
    const before = Date.now();
    await pause(2);
    expect(await apps[1].store.destroyAllOf('ann', { notBefore: new Date() })).toBe(2);
    for (const { cookie } of [phone, laptop]) await untilEnded(apps, cookie);
    expect(await apps[0].status(other.cookie)).toBe(200);
    const late = { cookie: { originalMaxAge: null }, userId: 'ann', authenticatedAt: before };
    await expect(apps[0].store.set('late', late)).rejects.toMatchObject({ code: 'ERR_SESSION_REVOKED' });
  });

  test('7.4.3: a change of the password ends the other sessions', async () => {
    const [own, other] = [await logIn('ann'), await logIn('ann')];
    expect((await apps[0].send('POST', '/password', own.cookie)).body).toBe(1);
    await untilEnded(apps, other.cookie);
    for (const app of apps) expect(await app.status(own.cookie)).toBe(200);
  });

  test('7.4.5: administrators end the sessions of a user, or of all', async () => {
    const [ann, bob, cid] = [await logIn('ann'), await logIn('bob'), await logIn('cid')];
    await apps[1].store.destroyAllOf('ann');
    await untilEnded(apps, ann.cookie);
    expect(await apps[0].status(bob.cookie)).toBe(200);
    await apps[1].store.clear();
    for (const { cookie } of [bob, cid]) await untilEnded(apps, cookie);
  });

  test('7.5.2: users see their sessions, without the tokens, and end one or all', async () => {
    const [phone, laptop, tablet] = [await logIn('ann'), await logIn('ann'), await logIn('ann')];
    const { body } = await apps[0].send('GET', '/sessions', phone.cookie);
    expect(body).toHaveLength(3);
    for (const { id } of [phone, laptop, tablet]) expect(JSON.stringify(body)).not.toContain(id);

    const ended = apps[0].store.sessionHash(laptop.id);
    expect((await apps[0].send('DELETE', `/sessions/${ended}`, phone.cookie)).body).toBe(true);
    await untilEnded(apps, laptop.cookie);
    for (const app of apps) expect(await app.status(tablet.cookie)).toBe(200);
    expect((await apps[1].send('DELETE', '/sessions', tablet.cookie)).body).toBe(2);
    for (const { cookie } of [phone, tablet]) await untilEnded(apps, cookie);
  });

  test('7.6.1: a logout at the identity provider ends the session here', async () => {
    const [ann, bob] = [await logIn('ann'), await logIn('bob')];
    expect(await apps[1].store.destroyAllOf('idp-ann', { index: 'idp' })).toBe(1);
    await untilEnded(apps, ann.cookie);
    expect(await apps[0].status(bob.cookie)).toBe(200);
  });
});

test('7.6.1: the identity provider decides how long a session lasts', async () => {
  const app = await startApp({ maxLifetime: ({ userId }) => (userId === 'ann' ? 0.5 : 3600) });
  const [ann, bob] = [await app.logIn('ann'), await app.logIn('bob')];
  await untilEnded([app], ann.cookie);
  expect(await app.status(bob.cookie)).toBe(200);
});

test('7.5.1, 7.5.2, 7.5.3: a sensitive operation requires a recent authentication', async () => {
  const app = await startApp();
  const { id, cookie } = await app.logIn('ann');
  await app.store.updateAllOf('ann', (stored) => {
    stored.authenticatedAt -= FRESH_MS;
  });
  expect((await redis.stored(`sess:${id}`)).userId).toBe('ann');
  expect((await app.send('POST', '/email', cookie)).status).toBe(403);
  for (const path of ['/sessions', `/sessions/${app.store.sessionHash(id)}`])
    expect((await app.send('DELETE', path, cookie)).status).toBe(403);
  const renewed = await app.send('POST', '/reauthenticate', cookie);
  expect((await app.send('POST', '/email', renewed.cookie)).status).toBe(200);
});

test('7.6.2: a visit alone creates no session', async () => {
  const app = await startApp();
  const { status, cookie } = await app.send('GET', '/public');
  expect([status, cookie]).toEqual([200, undefined]);
  expect(await redis.keys()).toEqual([]);
});
