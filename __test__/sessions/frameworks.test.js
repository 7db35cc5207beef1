'use strict';

const { discardOf } = require('../support/sessions.js');
const { useRedis } = require('../support/redis.js');
const { closeAll, openStore } = require('../support/stores.js');
const { newVisitor, startApp, stopAll } = require('./processes.js');

const redis = useRedis();
afterEach(async () => {
  await stopAll();
  await closeAll();
});

async function open(options) {
  const store = await openStore('url', redis.port, options);
  const discarded = jest.fn();
  store.on('discarded', discarded);
  return { store, discarded };
}

describe('a class instance of an unknown framework', () => {
  class ForeignSession {
    constructor(data) {
      Object.assign(this, { cookie: {} }, data);
    }
  }

  test.each([
    ['FLUSHALL', () => redis.command('FLUSHALL')],
    ['a logout in another process', () => redis.command('DEL', 'sess:abc')],
    ['a logout in this process', (store) => store.destroy('abc')],
    ['its expiry', () => redis.command('PEXPIRE', 'sess:abc', '0')],
  ])(
    'a session of an unknown class is stored under an id that was loaded and ended by %s',
    async (_what, end) => {
      for (const onConflict of ['overwrite', 'merge']) {
        const { store, discarded } = await open({ onConflict });
        const session = new ForeignSession({ user: 'ann' });
        await store.set('abc', session);
        await store.get('abc');
        await end(store);

        expect(await store.set('abc', new ForeignSession({ user: 'bob' }))).toBeNull();
        expect(await redis.stored('sess:abc')).toMatchObject({ user: 'bob' });
        await end(store);
        expect(await store.set('abc', session)).toBeNull();
        expect(await redis.stored('sess:abc')).toMatchObject({ user: 'ann' });
        expect(discarded).not.toHaveBeenCalled();
        await redis.command('FLUSHALL');
      }
    },
  );
});

describe('@fastify/session', () => {
  const start = (settings = {}) => startApp({ url: redis.server.url, ...settings }, 'fastify.js');

  test.each(['overwrite', 'merge'])(
    '@fastify/session stores a session under an id that its idGenerator returns again, onConflict: %s',
    async (onConflict) => {
      for (const end of ['DEL', 'UNLINK', 'logout']) {
        const app = await start({ storeOptions: { onConflict }, idGenerator: 'same' });
        const visitor = newVisitor();
        expect((await app.get('/keep?user=ann', visitor)).status).toBe(200);
        await app.get('/look', { ...visitor });
        if (end === 'logout') await app.get('/logout', { ...visitor });
        else await redis.command(end, 'sess:same');

        expect((await app.get('/keep?user=bob', visitor)).status).toBe(200);

        expect(await redis.stored('sess:same')).toMatchObject({ user: 'bob' });
        expect(await app.body('/discarded')).toEqual([]);
        await redis.command('FLUSHALL');
      }
    },
  );

  test('@fastify/session stores a new session when regenerate reuses the id', async () => {
    const app = await start({ idGenerator: 'same' });
    const visitor = newVisitor();
    await app.get('/keep?user=ann', visitor);
    expect((await app.get('/regenerate?user=bob', visitor)).status).toBe(200);
    const stored = await redis.stored('sess:same');
    expect(stored).toMatchObject({ user: 'bob' });
    expect(await app.body('/discarded')).toEqual([]);
  });

  test('@fastify/session does not store a session without data after a logout in another process', async () => {
    const app = await start();
    const visitor = newVisitor();
    await app.get('/keep', visitor);
    const slow = await app.begin('/slow/gate?seen=1', 'gate', visitor);
    await redis.command('DEL', `sess:${visitor.id}`);
    await slow.finish();
    expect(await redis.keys()).toEqual([]);
    expect(await app.body('/discarded')).toEqual([discardOf(visitor.id)]);
  });

  test('@fastify/session stores a session under another id, as often as it is destroyed there', async () => {
    const app = await start();
    const visitor = newVisitor();
    await app.get('/keep?user=ann', visitor);
    for (let times = 0; times < 2; times++) {
      await app.get('/copy/audit-1', { ...visitor });
      expect(await redis.stored('sess:audit-1')).toMatchObject({ user: 'ann' });
      await redis.command('DEL', 'sess:audit-1');
    }
    expect(await app.body('/discarded')).toEqual([]);
  });

  test('@fastify/session stores a session that a wrapper loaded from another store', async () => {
    const app = await start({ wrapper: 'migrating' });
    const visitor = newVisitor();
    await app.get('/keep?user=ann', visitor);
    await redis.command('RENAME', `sess:${visitor.id}`, `old:${visitor.id}`);
    expect((await app.get('/keep?seen=1', visitor)).status).toBe(200);
    expect(await redis.stored(`sess:${visitor.id}`)).toMatchObject({ user: 'ann', seen: '1' });
    expect(await app.body('/discarded')).toEqual([]);
  });
});

describe('express-openid-connect', () => {
  const ISSUER = 'https://issuer.example';
  const start = (settings = {}) => startApp({ url: redis.server.url, ...settings }, 'openid.js');
  const visitor = { cookie: 'abc' };

  /** Stores a session as the middleware does after a login. */
  async function put(data = { id_token: 'token', user: 'ann' }) {
    const iat = Math.floor(Date.now() / 1000);
    const exp = iat + 3600;
    const cookie = { expires: exp * 1000, maxAge: 3_600_000 };
    await redis.command('SET', 'sess:abc', JSON.stringify({ header: { iat, uat: iat, exp }, data, cookie }));
  }

  test.each([
    ['another process', 'overwrite'],
    ['this process', 'overwrite'],
    ['another process', 'merge'],
  ])(
    'express-openid-connect does not undo a logout in %s with a slow request, onConflict: %s',
    async (process, onConflict) => {
      const app = await start({ storeOptions: { onConflict } });
      await put();
      const slow = await app.begin('/slow/gate?seen=1', 'gate', visitor);
      if (process === 'this process') await app.get('/logout', { ...visitor });
      else await redis.command('DEL', 'sess:abc');

      expect((await slow.finish()).status).toBe(200);

      expect(await redis.keys()).toEqual([]);
      expect(await app.body('/discarded')).toEqual([discardOf('abc')]);
    },
  );

  test('express-openid-connect saves the session with each response, with what the request has added', async () => {
    const app = await start();
    await put();
    expect(await app.body('/look', { ...visitor })).toEqual({ id_token: 'token', user: 'ann' });
    const slow = await app.begin('/slow/gate?seen=1', 'gate', visitor);
    await slow.finish();
    expect(await app.body('/look', { ...visitor })).toEqual({ id_token: 'token', user: 'ann', seen: '1' });
    expect(await app.body('/discarded')).toEqual([]);
  });

  test("express-openid-connect fails with ERR_SESSION_CONFLICT only when a save would overwrite another request's change", async () => {
    const app = await start({ storeOptions: { onConflict: 'reject' } });
    await put();
    expect((await app.get('/keep?more=1', { ...visitor })).status).toBe(200);
    const slow = await app.begin('/slow/gate?seen=1', 'gate', visitor);
    await put({ user: 'ann', theirs: 1 });
    expect(await slow.finish()).toMatchObject({ status: 500, body: { code: 'ERR_SESSION_CONFLICT' } });
    expect(await redis.stored('sess:abc')).toMatchObject({ data: { theirs: 1 } });
  });

  test.each(['FLUSHALL', 'DEL', 'logout'])(
    'express-openid-connect stores a login under an id that was ended by %s',
    async (end) => {
      const app = await start({ id: 'abc' });
      for (const client of [{}, { ...visitor }]) {
        expect((await app.get('/keep?user=ann', client)).status).toBe(200);
        expect(client.cookie).toBe('abc');
        expect(await redis.stored('sess:abc')).toMatchObject({ data: { user: 'ann' } });
        if (end === 'logout') await app.get('/logout', { ...visitor });
        else await redis.command(...(end === 'DEL' ? ['DEL', 'sess:abc'] : ['FLUSHALL']));
      }
      expect(await app.body('/discarded')).toEqual([]);
    },
  );

  test('express-openid-connect stores the records of a back-channel logout, as often as they come', async () => {
    const app = await start();
    for (let times = 0; times < 2; times++) {
      await app.get(`/back-channel?iss=${ISSUER}&sid=s1&sub=ann`);
      expect(await redis.keys()).toEqual([`sess:${ISSUER}|ann`, `sess:${ISSUER}|s1`]);
      await redis.command('FLUSHALL');
    }
    expect(await app.body('/discarded')).toEqual([]);
  });
});
