'use strict';

const { keyOf } = require('../support/app.js');
const { until } = require('../support/until.js');
const { useApps } = require('../http/apps.js');
const { openStore } = require('../support/stores.js');
const { newVisitor, startApp, stopAll } = require('../sessions/processes.js');

const apps = useApps();
const { redis } = apps;
afterEach(stopAll);

const KEY = '__createdAt';
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** Makes a stored session older, as if that time had passed. */
async function age(key, ms) {
  const session = await redis.stored(key);
  const text = JSON.stringify({ ...session, [KEY]: session[KEY] - ms });
  expect(await redis.command('SET', key, text, 'KEEPTTL')).toBe('OK');
  return session[KEY] - ms;
}

const expiresOf = (setCookie) => Date.parse(/Expires=([^;]+)/.exec(setCookie)[1]);

let ageDuringRequest;
beforeEach(() => {
  ageDuringRequest = async () => {};
});

/** Adds routes that change a session, and one that begins its response before it ends. */
function routes(express) {
  express.get('/login', (request, response, next) =>
    request.session.regenerate((error) => {
      if (error) return next(error);
      request.session.user = 'ann';
      response.json('in');
    }),
  );
  express.get('/stream', (request, response) => {
    request.session.streamed = true;
    response.write('1');
    response.end();
  });
  express.get('/remember', (request, response) => {
    request.session.cookie.maxAge = 24 * HOUR;
    request.session.remember = true;
    response.json('remembered');
  });
  express.get('/young', (request, response) => {
    request.session[KEY] = Date.now();
    request.session.young = true;
    response.json('young');
  });
  express.get('/old', (request, response) => response.json(request.session[KEY]));
  express.get('/reload', async (request, response) => {
    await ageDuringRequest();
    request.session.reload((error) => response.json(error ? 'gone' : 'here'));
  });
}

describe.each([
  ['native', 'url', {}],
  ['native with cache', 'url', { cache: true }],
  ['client', 'redis6', { transport: 'client' }],
  ['native with onConflict', 'url', { onConflict: 'merge' }],
])('an Express app with maxLifetime, %s', (_name, source, extra) => {
  let store;
  const visit = async (sessionOptions, storeOptions) => {
    store = await openStore(source, redis.port, { maxLifetime: 600, ...extra, ...storeOptions });
    return apps.visit(store, sessionOptions, routes);
  };

  /** Makes a stored session older, and waits until the cache has received that, if there is one. */
  const ageOf = async (visitor, ms) => {
    const createdAt = await age(keyOf(visitor), ms);
    await until(async () => {
      const found = await store.get(visitor.id);
      return found === null || found[KEY] === createdAt;
    });
    return createdAt;
  };

  describe.each([
    ['rolling', { rolling: true, cookie: { maxAge: HOUR } }],
    ['not rolling', { cookie: { maxAge: HOUR } }],
    ['a session cookie', {}],
  ])('%s', (_how, options) => {
    test('a session in use ends at its deadline, and the next request begins a new one', async () => {
      const visitor = await visit(options);
      const first = await visitor.get('/count');
      const key = keyOf(visitor);
      const createdAt = (await redis.stored(key))[KEY];
      if (options.cookie) expect(expiresOf(first.setCookie)).toBeLessThanOrEqual(createdAt + 600 * SECOND);
      for (const path of ['/look', '/count', '/stream', '/young', '/look']) {
        const { setCookie } = await visitor.get(path);
        if (setCookie && options.cookie)
          expect(expiresOf(setCookie)).toBeLessThanOrEqual(createdAt + 600 * SECOND);
        expect(await redis.lifetime(key)).toBeLessThanOrEqual(createdAt + 600 * SECOND - Date.now() + SECOND);
        expect((await redis.stored(key))[KEY]).toBe(createdAt);
      }
      const older = await ageOf(visitor, 590 * SECOND);
      await visitor.get('/look');
      await visitor.get('/count');
      expect(await redis.lifetime(key)).toBeLessThanOrEqual(older + 600 * SECOND - Date.now() + SECOND);
      expect((await redis.stored(key)).count).toBe(3);
      await ageOf(visitor, 10 * SECOND);
      expect((await visitor.get('/count')).body).toBe(1);
      expect(keyOf(visitor)).not.toBe(key);
      await until(async () => !(await redis.keys()).includes(key));
    });
  });

  test('a cookie of a longer maxAge that a handler sets is capped, also in a streamed response', async () => {
    const visitor = await visit({ rolling: true });
    await visitor.get('/count');
    const createdAt = (await redis.stored(keyOf(visitor)))[KEY];
    for (const path of ['/remember', '/stream']) {
      const { setCookie } = await visitor.get(path);
      expect(expiresOf(setCookie)).toBeLessThanOrEqual(createdAt + 600 * SECOND);
      expect(expiresOf(setCookie)).toBeGreaterThan(createdAt + 500 * SECOND);
    }
    const { cookie } = await redis.stored(keyOf(visitor));
    expect(cookie.originalMaxAge).toBe(24 * HOUR);
    expect(Date.parse(cookie.expires)).toBeLessThanOrEqual(createdAt + 600 * SECOND);
  });

  test('regenerate begins a new lifetime, and ends the old session', async () => {
    const visitor = await visit({ cookie: { maxAge: HOUR } });
    await visitor.get('/count');
    const key = keyOf(visitor);
    await ageOf(visitor, 500 * SECOND);
    const before = Date.now();
    await visitor.get('/login');
    expect(await redis.keys()).toEqual([keyOf(visitor)]);
    expect(keyOf(visitor)).not.toBe(key);
    expect((await redis.stored(keyOf(visitor)))[KEY]).toBeGreaterThanOrEqual(before);
  });

  test('an untouched new session is not stored, and is saved once', async () => {
    const visitor = await visit({ cookie: { maxAge: HOUR } });
    expect((await visitor.get('/look')).body).toBeNull();
    expect(await redis.keys()).toEqual([]);
    await visitor.get('/count');
    const sets = await redis.calls('set');
    await visitor.get('/look');
    expect(await redis.calls('set')).toBe(sets);
  });

  test('a session of connect-redis that an app only reads ends as well', async () => {
    const visitor = await visit({ rolling: true, cookie: { maxAge: HOUR } });
    await visitor.get('/count');
    const key = keyOf(visitor);
    const { [KEY]: _created, ...session } = await redis.stored(key);
    // A new store, which does not remember the session.
    const { cookie } = visitor;
    const reader = await visit({ rolling: true, cookie: { maxAge: HOUR } });
    reader.cookie = cookie;
    await redis.command('SET', key, JSON.stringify(session));
    const before = Date.now();
    expect((await reader.get('/look')).body).toBe(1);
    const { [KEY]: createdAt, ...rest } = await redis.stored(key);
    expect(createdAt).toBeGreaterThanOrEqual(before);
    expect(rest).toEqual(session);
    expect(await redis.lifetime(key)).toBeGreaterThan(0);
    await ageOf(reader, 600 * SECOND);
    expect((await reader.get('/look')).body).toBeNull();
  });

  test('`reload` fails after the deadline', async () => {
    const visitor = await visit();
    await visitor.get('/count');
    expect((await visitor.get('/reload')).body).toBe('here');
    ageDuringRequest = () => ageOf(visitor, 600 * SECOND);
    expect((await visitor.get('/reload')).body).toBe('gone');
  });
});

test.each(['connect-redis 8.1', 'connect-redis 10'])(
  'a session ends that %s touches and saves past its deadline',
  async (kind) => {
    const sessionOptions = { cookie: { maxAge: HOUR } };
    const start = (of, storeOptions) =>
      startApp({ kind: of, url: redis.server.url, storeOptions, sessionOptions });
    const [old, app] = await Promise.all([start(kind), start('connect-redis-native', { maxLifetime: 60 })]);
    const visitor = newVisitor();
    await app.get('/keep?user=ann', visitor);
    const key = `sess:${visitor.id}`;
    const createdAt = (await redis.stored(key))[KEY];
    // Touched, then saved.
    for (const path of ['/look', '/keep?by=old']) {
      await old.get(path, visitor);
      expect(await redis.lifetime(key)).toBeGreaterThan(60 * SECOND);
      expect((await app.body('/look', visitor)).user).toBe('ann');
      await until(async () => (await redis.lifetime(key)) <= 60 * SECOND);
    }
    expect((await redis.stored(key))[KEY]).toBe(createdAt);
    await age(key, 60 * SECOND);
    await old.get('/keep?by=old', visitor);
    expect(await redis.lifetime(key)).toBeGreaterThan(60 * SECOND);
    const { id } = visitor;
    expect(await app.body('/look', { ...visitor })).not.toHaveProperty('user');
    await until(async () => !(await redis.keys()).includes(`sess:${id}`));
  },
);

test('a session of @fastify/session ends at its deadline', async () => {
  const app = await startApp({ url: redis.server.url, storeOptions: { maxLifetime: 600 } }, 'fastify.js');
  const visitor = newVisitor();
  await app.get('/keep?user=ann', visitor);
  const key = `sess:${visitor.id}`;
  const createdAt = (await redis.stored(key))[KEY];
  await app.get('/keep?n=1', visitor);
  expect(await redis.stored(key)).toMatchObject({ user: 'ann', n: '1', [KEY]: createdAt });
  await age(key, 600 * SECOND);
  expect(await app.body('/look', { ...visitor })).not.toHaveProperty('user');
});

test('a session of express-openid-connect ends at its deadline', async () => {
  const app = await startApp({ url: redis.server.url, storeOptions: { maxLifetime: 600 } }, 'openid.js');
  const now = Math.floor(Date.now() / SECOND);
  const record = {
    header: { iat: now, uat: now, exp: now + 3600 },
    data: { id_token: 'token', user: 'ann' },
    cookie: { expires: (now + 3600) * SECOND, maxAge: HOUR },
  };
  await redis.command('SET', 'sess:abc', JSON.stringify(record), 'PX', HOUR);
  const visitor = { cookie: 'abc' };
  expect((await app.body('/look', { ...visitor })).user).toBe('ann');
  const { [KEY]: createdAt } = await redis.stored('sess:abc');
  expect(createdAt).toBeGreaterThan(0);
  await app.get('/keep?seen=1', { ...visitor });
  expect((await redis.stored('sess:abc'))[KEY]).toBe(createdAt);
  expect(await redis.lifetime('sess:abc')).toBeLessThanOrEqual(600 * SECOND);
  await age('sess:abc', 600 * SECOND);
  expect(await app.body('/look', { ...visitor })).not.toHaveProperty('user');
});
