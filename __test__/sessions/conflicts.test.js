'use strict';

const { startProxy } = require('../support/proxy.js');
const { askOnce, connectRaw, startRedis, useRedis } = require('../support/redis.js');
const { findServers } = require('../../scripts/servers.js');
const { describeServers } = require('../support/servers.js');
const { closeAll, keepStore, openStore, served, styles } = require('../support/stores.js');
const { RedisStore } = require('../..');
const { discardOf, liveSession } = require('../support/sessions.js');
const { HANG_MS } = require('../support/until.js');
const { newVisitor, startApp, stopAll } = require('./processes.js');

const redis = useRedis();
afterEach(async () => {
  await stopAll();
  await closeAll();
});

const OURS = 'connect-redis-native';
const start = (kind, storeOptions, sessionOptions) =>
  Promise.all([1, 2].map(() => startApp({ kind, url: redis.server.url, storeOptions, sessionOptions })));

/** A serializer whose texts are not JSON. */
const reversed = {
  stringify: (session) => [...JSON.stringify(session)].reverse().join(''),
  parse: (text) => JSON.parse([...text].reverse().join('')),
};

/** A visitor with a session that holds `user` and `old`. */
async function signIn(app) {
  const visitor = newVisitor();
  await app.get('/keep?user=ann&old=1', visitor);
  return visitor;
}

describe.each([
  [OURS, 'merge'],
  [OURS, 'overwrite'],
  ['connect-redis 8.1', undefined],
  ['connect-redis 10', undefined],
])('two Express processes on %s, onConflict %p', (kind, onConflict) => {
  test('two overlapping requests that add different keys both keep them only under merge', async () => {
    const [one, other] = await start(kind, onConflict && { onConflict });
    const visitor = await signIn(one);
    const slow = await one.begin('/slow/gate?mine=1', 'gate', visitor);
    await other.get('/keep?theirs=1', { ...visitor });
    await slow.finish();

    const { user, mine, theirs } = await other.body('/look', visitor);
    expect({ user, mine, theirs }).toEqual({
      user: 'ann',
      mine: '1',
      theirs: onConflict === 'merge' ? '1' : undefined,
    });
  });
});

describe('merge', () => {
  const overlap = async (mine, theirs) => {
    const [one, other] = await start(OURS, { onConflict: 'merge' });
    const visitor = await signIn(one);
    const slow = await one.begin(mine, 'gate', visitor);
    for (const path of theirs) await other.get(path, { ...visitor });
    const answer = await slow.finish();
    const { expires, maxAge, ...content } = await other.body('/look', { ...visitor });
    return { answer, content };
  };

  test('a merge keeps the deletions of both requests', async () => {
    const [one, other] = await start(OURS, { onConflict: 'merge' });
    const visitor = newVisitor();
    await one.get('/keep?a=1&b=1&c=1', visitor);
    const slow = await one.begin('/slow/gate?c=2', 'gate', visitor);
    await other.get('/forget/a', { ...visitor });
    await other.get('/keep?c=3&d=1', { ...visitor });
    await slow.finish();
    const { expires, maxAge, ...content } = await other.body('/look', { ...visitor });
    expect(content).toEqual({ b: '1', c: '2', d: '1' });
  });

  test('a merge takes over the keys of 20 requests that finished while a slow one ran', async () => {
    const others = Array.from({ length: 20 }, (_, number) => `/keep?k${number}=1`);
    const { content } = await overlap('/slow/gate?mine=1', others);
    expect(Object.keys(content)).toHaveLength(23);
  });

  test('the second save of a request merges with changes made after the first', async () => {
    const [one] = await start(OURS, { onConflict: 'merge' });
    const visitor = newVisitor();
    const slow = await one.begin('/twice/gate?mine=1', 'gate', visitor);
    const [key] = await redis.keys();
    const session = await redis.stored(key);
    await redis.command('SET', key, JSON.stringify({ ...session, theirs: 1 }), 'PX', 60_000);
    expect((await slow.finish()).status).toBe(200);
    expect(await redis.stored(key)).toMatchObject({ mine: '1', theirs: 1, twice: true });
  });

  test('a slow request does not bring a session back when another process logs out meanwhile', async () => {
    const { answer, content } = await overlap('/slow/gate?mine=1', ['/logout']);
    expect(answer.status).toBe(200);
    expect(content).toEqual({});
    expect(await redis.keys()).toEqual([]);
  });
});

test.each(['merge', 'reject'])(
  '%s: keys that express-session does not copy from a loaded session are dropped without a conflict',
  async (onConflict) => {
    const store = keepStore(new RedisStore({ url: redis.server.url, onConflict }));
    const stored = { cookie: {}, id: 'mine', toString: 'text', n: 0 };
    await redis.command('SET', 'sess:abc', JSON.stringify(stored));
    const session = await styles.callback(store, 'load', 'abc');
    session.n = 1;
    await store.set('abc', session);
    expect(Object.keys(await redis.stored('sess:abc')).sort()).toEqual(['cookie', 'n']);
  },
);

describe('reject', () => {
  test('the second of two requests that change a session fails with ERR_SESSION_CONFLICT and the stored session', async () => {
    const [one, other] = await start(OURS, { onConflict: 'reject' });
    const visitor = await signIn(one);
    const slow = await one.begin('/slow/gate?mine=1', 'gate', visitor);
    await other.get('/keep?theirs=1', { ...visitor });

    const { status, body } = await slow.finish();

    expect(status).toBe(500);
    expect(body).toMatchObject({
      code: 'ERR_SESSION_CONFLICT',
      message: expect.stringContaining('changed'),
      stored: { user: 'ann', old: '1', theirs: '1' },
    });
    expect(await redis.stored(`sess:${visitor.id}`)).not.toHaveProperty('mine');
  });

  test('a session is saved without a conflict when only its cookie has changed elsewhere', async () => {
    const [one, other] = await start(
      OURS,
      { onConflict: 'reject' },
      { resave: true, cookie: { maxAge: 60_000 } },
    );
    const visitor = await signIn(one);
    const slow = await one.begin('/slow/gate?mine=1', 'gate', visitor);
    await other.get('/look', { ...visitor });
    expect((await slow.finish()).status).toBe(200);
    expect(await redis.stored(`sess:${visitor.id}`)).toMatchObject({ mine: '1' });
  });
});

describe('onConflict function', () => {
  test('an onConflict function receives the three sessions and decides the content but not the cookie', async () => {
    const [one, other] = await start(OURS, { onConflict: 'union' }, { cookie: { maxAge: 60_000 } });
    const visitor = await signIn(one);
    const slow = await one.begin('/slow/gate?mine=1', 'gate', visitor);
    await other.get('/keep?theirs=1', { ...visitor });
    await redis.command('PEXPIRE', `sess:${visitor.id}`, 10_000);
    expect((await slow.finish()).status).toBe(200);

    const stored = await redis.stored(`sess:${visitor.id}`);
    expect(stored).toMatchObject({ user: 'ann', mine: '1', theirs: '1' });
    expect(stored.seen).toEqual([
      ['cookie', 'user', 'old'],
      ['cookie', 'user', 'old', 'theirs'],
    ]);
    expect(Object.keys(stored)[0]).toBe('cookie');
    expect(await redis.lifetime(`sess:${visitor.id}`)).toBeGreaterThan(50_000);
  });

  test('a save rejects with the error that its onConflict function throws', async () => {
    const [one, other] = await start(OURS, { onConflict: 'throw' });
    const visitor = await signIn(one);
    const slow = await one.begin('/slow/gate?mine=1', 'gate', visitor);
    await other.get('/keep?theirs=1', { ...visitor });
    expect(await slow.finish()).toMatchObject({ status: 500, body: { message: 'no answer' } });
    expect(await redis.stored(`sess:${visitor.id}`)).toMatchObject({ theirs: '1' });
  });

  test.each(['union', 'reject'])(
    'onConflict works on parsed sessions when a serializer is configured: %s',
    async (onConflict) => {
      const [one, other] = await start(OURS, { onConflict, serializer: 'base64' });
      const visitor = await signIn(one);
      const slow = await one.begin('/slow/gate?mine=1', 'gate', visitor);
      await other.get('/keep?theirs=1', { ...visitor });
      const { status } = await slow.finish();
      const { user, mine, theirs } = await other.body('/look', visitor);
      expect({ status, user, mine, theirs }).toEqual(
        onConflict === 'union'
          ? { status: 200, user: 'ann', mine: '1', theirs: '1' }
          : { status: 500, user: 'ann', mine: undefined, theirs: '1' },
      );
    },
  );
});

// Some have `SET … IFEQ`, others need the script.
describeServers('on %s', (_server, program) => {
  let server;
  beforeAll(async () => {
    server = await startRedis({ program });
  });
  afterAll(() => server.stop());

  const open = (options) =>
    keepStore(new RedisStore({ url: server.url, commandTimeout: HANG_MS, ...options }));
  const load = (store, id) => styles.callback(store, 'load', id);
  let other;
  beforeEach(async () => {
    other = open();
    await other.clear();
  });

  describe.each(Object.entries(styles))('in %s style', (_style, call) => {
    test('a session that `get` returned is the base of a later `set`', async () => {
      const store = open({ onConflict: 'merge' });
      await call(store, 'set', 'abc', { n: 0 });
      const mine = await call(store, 'get', 'abc');
      const theirs = await call(store, 'get', 'abc');
      await call(store, 'set', 'abc', Object.assign(theirs, { b: 1 }));
      await call(store, 'set', 'abc', Object.assign(mine, { a: 1 }));
      expect(await call(other, 'get', 'abc')).toEqual({ n: 0, a: 1, b: 1 });
      await call(store, 'set', 'abc', Object.assign(theirs, { n: 1 }));
      expect(await call(other, 'get', 'abc')).toEqual({ n: 1, a: 1, b: 1 });
    });

    test.each(['reject', 'merge'])(
      '%s: `set` of a session that was not loaded rejects with ERR_SESSION_CONFLICT when its id is taken',
      async (onConflict) => {
        const store = open({ onConflict });
        await call(other, 'set', 'abc', { user: 'ann' });
        const error = await call(store, 'set', 'abc', { user: 'bob' }).catch((reason) => reason);
        expect(error).toMatchObject({
          code: 'ERR_SESSION_CONFLICT',
          message: expect.stringContaining('not loaded'),
          stored: { user: 'ann' },
        });
        expect(Object.keys(error)).toEqual(['code', 'retryable', 'operation']);
        expect(await call(other, 'get', 'abc')).toEqual({ user: 'ann' });
      },
    );

    test.each(['[1]', 'not JSON', '"text"'])(
      'merge: `set` rejects with ERR_SESSION_CONFLICT when the stored value is not an object: %s',
      async (text) => {
        const store = open({ onConflict: 'merge', prefix: 'raw:' });
        const raw = open({
          prefix: 'raw:',
          serializer: { stringify: () => text, parse: (stored) => stored },
        });
        await call(store, 'set', 'abc', { n: 0 });
        const mine = await call(store, 'get', 'abc');
        await call(raw, 'set', 'abc', {});
        await expect(call(store, 'set', 'abc', Object.assign(mine, { n: 1 }))).rejects.toMatchObject({
          code: 'ERR_SESSION_CONFLICT',
          message: expect.stringContaining('no JSON object'),
        });
        expect(await call(raw, 'get', 'abc')).toBe(text);
        await raw.clear();
      },
    );

    test('an onConflict function receives null as the base of a session that was not loaded', async () => {
      const seen = [];
      const store = open({
        onConflict(base, theirs, mine) {
          seen.push([base, theirs, mine]);
          return Promise.resolve({ ...theirs, ...mine });
        },
      });
      await call(other, 'set', 'abc', { a: 1 });
      await call(store, 'set', 'abc', { b: 1 });
      expect(seen).toEqual([[null, { a: 1 }, { b: 1 }]]);
      expect(await call(other, 'get', 'abc')).toEqual({ a: 1, b: 1 });
    });

    test('`set` rejects with ERR_INVALID_ARG_TYPE when the onConflict function does not return a session', async () => {
      const store = open({ onConflict: () => 'theirs' });
      await call(other, 'set', 'abc', { a: 1 });
      await expect(call(store, 'set', 'abc', {})).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
    });

    test.each(['reject', 'merge'])(
      '%s: `set` discards a destroyed session unless saveDestroyed is true',
      async (onConflict) => {
        for (const saveDestroyed of [false, true]) {
          const store = open({ onConflict, saveDestroyed });
          const session = liveSession('abc', { n: 0 });
          await call(store, 'set', 'abc', session);
          await call(other, 'destroy', 'abc');
          const discarded = [];
          store.on('discarded', (event) => discarded.push(event));
          session.n = 1;
          expect(await call(store, 'set', 'abc', session)).toBe(saveDestroyed ? null : 'discarded');
          expect(await call(other, 'get', 'abc')).toEqual(
            saveDestroyed ? expect.objectContaining({ n: 1 }) : null,
          );
          await new Promise((resolve) => setImmediate(resolve));
          expect(discarded).toEqual(saveDestroyed ? [] : [discardOf('abc')]);
          await call(other, 'destroy', 'abc');
        }
      },
    );
  });

  describe.each([
    ['reject', { onConflict: 'reject' }],
    ['merge', { onConflict: 'merge' }],
    ['a function', { onConflict: () => Promise.reject(new Error('called')) }],
    ['reject with a serializer', { onConflict: 'reject', serializer: reversed }],
  ])('a request that changed nothing, onConflict: %s', (_name, options) => {
    test('`set` of an unchanged session keeps the changes of others and stores its own cookie', async () => {
      const store = open({ ...options, prefix: 'quiet:' });
      const elsewhere = open({ ...options, onConflict: 'overwrite', prefix: 'quiet:' });
      await store.set('abc', liveSession('abc', { n: 1, old: 1 }));
      const session = await load(store, 'abc');
      await elsewhere.set('abc', { cookie: {}, n: 2, theirs: 1 });
      session.cookie.maxAge = 60_000;

      for (let times = 0; times < 2; times++) {
        await store.set('abc', session);
        const { cookie, ...content } = await elsewhere.get('abc');
        expect(cookie).toMatchObject({ originalMaxAge: session.cookie.originalMaxAge });
        expect(content).toEqual({ n: 2, theirs: 1 });
      }
      await elsewhere.clear();
    });
  });

  test('two live sessions that were created from one loaded object each have their own base', async () => {
    const store = open({ onConflict: 'merge' });
    await other.set('abc', { cookie: {} });
    const loaded = await store.get('abc');
    const [one, two] = [1, 2].map(() => store.createSession({ sessionID: 'abc' }, loaded));
    await store.set('abc', Object.assign(one, { a: 1 }));
    await store.set('abc', Object.assign(two, { b: 1 }));
    expect(await other.get('abc')).toMatchObject({ a: 1, b: 1 });
  });

  describe.each([
    ['reject', 'reject'],
    ['merge', 'merge'],
    ['a function', (_base, _theirs, mine) => mine],
  ])('`set` of a session that is stored already, onConflict: %s', (_name, onConflict) => {
    const lifetime = async () => {
      for await (const { ttl } of other.scan()) return ttl;
    };
    const shorten = async () => {
      await other.touch('abc', { cookie: { expires: new Date(Date.now() + 5000) } });
      expect(await lifetime()).toBeLessThan(6);
    };

    test('`set` renews the lifetime when an object that was not loaded equals the stored session', async () => {
      const store = open({ onConflict, ttl: 100 });
      await store.set('abc', { cookie: {}, n: 1 });
      await shorten();
      await store.set('abc', { cookie: {}, n: 1 });
      expect(await lifetime()).toBeGreaterThan(90);
    });

    test('`set` renews the lifetime when two requests make the same change', async () => {
      const store = open({ onConflict, ttl: 100 });
      await store.set('abc', { cookie: {} });
      const [one, two] = await Promise.all([store.get('abc'), store.get('abc')]);
      for (const session of [one, two]) session.seen = true;
      await store.set('abc', one);
      await shorten();
      await store.set('abc', two);
      expect(await lifetime()).toBeGreaterThan(90);
    });
  });

  test('saves of one session object take effect in the order of their calls', async () => {
    const store = open({ onConflict: 'merge' });
    await other.set('abc', { cookie: {} });
    const session = await load(store, 'abc');
    await other.set('abc', { cookie: {}, theirs: 1 });
    const saves = Array.from({ length: 50 }, (_, n) => {
      session.n = n;
      session[`k${n % 5}`] = n;
      return store.set('abc', session);
    });
    await Promise.all(saves);
    expect(await other.get('abc')).toMatchObject({ theirs: 1, n: 49, k0: 45, k4: 49 });
  });

  test.each(['reject', 'merge'])(
    '%s: `set` stores the lifetime to the millisecond, and none with disableTTL',
    async (onConflict) => {
      const timed = open({ onConflict, prefix: 'timed:' });
      await timed.set('abc', liveSession('abc', {}, { maxAge: 60_000 }));
      for await (const { ttl } of timed.scan()) expect(Math.abs(ttl - 60)).toBeLessThan(5);
      const endless = open({ onConflict, prefix: 'endless:', disableTTL: true });
      await endless.set('abc', { n: 0 });
      const session = await endless.get('abc');
      await endless.set('abc', Object.assign(session, { n: 1 }));
      for await (const entry of endless.scan())
        expect(entry).toEqual({ id: 'abc', session: { n: 1 }, ttl: null });
      await timed.clear();
      await endless.clear();
    },
  );

  test.each(['reject', () => ({ user: 'nobody' })])(
    '`set` is no conflict when both sides made the same change and a serializer is configured: %p',
    async (onConflict) => {
      const store = open({ onConflict, serializer: reversed });
      const other = open({ serializer: reversed });
      await other.set('abc', { cookie: { path: '/' }, n: 1 });
      const session = await load(store, 'abc');
      session.n = 2;
      await other.set('abc', { n: 2, cookie: { path: '/other' } });
      await store.set('abc', session);
      expect(await other.get('abc')).toEqual({ cookie: expect.objectContaining({ path: '/' }), n: 2 });
    },
  );

  test('`set` rejects with ERR_SESSION_CORRUPT when an earlier serializer has saved the base as bytes', async () => {
    const stringify = (session) => Buffer.from(reversed.stringify(session));
    const store = open({
      onConflict: (_base, _theirs, mine) => mine,
      serializer: { ...reversed, stringify },
    });
    await store.set('abc', { cookie: {}, n: 1 });
    const session = await load(store, 'abc');
    await store.set('abc', session);
    await open({}).set('abc', { cookie: {}, n: 2 });
    store.serializer = JSON;
    await expect(store.set('abc', session)).rejects.toMatchObject({ code: 'ERR_SESSION_CORRUPT' });
  });

  test('the session that an onConflict function returned is the next base when the reply to its save was lost', async () => {
    const bases = [];
    let chosen;
    const store = open({
      commandTimeout: 1000,
      onConflict(base, theirs, mine) {
        bases.push(base.n);
        if (bases.length === 1) server.pause();
        chosen = { ...theirs, ...mine, asked: bases.length };
        return chosen;
      },
    });
    await other.set('abc', { cookie: {}, n: 1 });
    const session = await load(store, 'abc');
    await other.set('abc', { cookie: {}, n: 1, theirs: 1 });
    session.n = 2;
    await expect(store.set('abc', session)).rejects.toMatchObject({ code: /^ERR_/ });
    server.resume();
    await served(store);
    // Stored as if the save had arrived, which the store cannot know.
    await other.set('abc', { ...chosen, cookie: session.cookie });
    session.n = 1;
    await store.set('abc', session);
    expect(await other.get('abc')).toMatchObject({ n: 1, theirs: 1, asked: 2 });
    expect(bases).toEqual([1, 2]);
  });

  test('merge: `set` rejects with ERR_SESSION_CONFLICT at its deadline when others keep changing the session faster', async () => {
    const proxy = await startProxy(server.port);
    const raw = await connectRaw(server.port);
    const store = keepStore(new RedisStore({ url: proxy.url, onConflict: 'merge', commandTimeout: 1000 }));
    await other.set('abc', { cookie: {}, n: 0 });
    const session = await load(store, 'abc');
    proxy.delay({ request: 20, reply: 20 });
    let isOver = false;
    const change = async () => {
      for (let n = 1; !isOver; n++)
        expect(await raw.command('SET', 'sess:abc', `{"cookie":{},"n":${n}}`)).toBe('OK');
    };
    const changing = change();
    session.mine = 1;
    const error = await store.set('abc', session).catch((reason) => reason);
    isOver = true;
    await changing;
    expect(error).toMatchObject({ code: 'ERR_SESSION_CONFLICT' });
    expect(error.message).toMatch(/ for 1000 ms \(redis:\/\/127\.0\.0\.1:\d+\)$/);
    await proxy.heal();
    // Once the others stop, the save merges.
    await store.set('abc', session);
    expect(await other.get('abc')).toMatchObject({ mine: 1, n: expect.any(Number) });
    await raw.close();
    await proxy.close();
  });

  test('100 concurrent writers of 10 sessions lose nothing under merge, and every rejected save reports it', async () => {
    for (const onConflict of ['merge', 'reject']) {
      const stores = Array.from({ length: 4 }, () => open({ onConflict }));
      await Promise.all(Array.from({ length: 10 }, (_, id) => other.set(`s${id}`, { cookie: {} })));
      const add = async (key) => {
        const store = stores[key % 4];
        const id = `s${key % 10}`;
        const session = await load(store, id);
        session[`k${key}`] = 1;
        return store.set(id, session).then(
          () => [key],
          (error) => {
            expect(error.code).toBe('ERR_SESSION_CONFLICT');
            return [];
          },
        );
      };
      const saved = (await Promise.all(Array.from({ length: 1000 }, (_, key) => add(key)))).flat();
      const stored = [];
      for await (const { session } of other.scan())
        stored.push(...Object.keys(session).filter((key) => key !== 'cookie'));
      expect(stored.sort()).toEqual(saved.map((key) => `k${key}`).sort());
      if (onConflict === 'merge') expect(saved).toHaveLength(1000);
      await other.clear();
    }
  });

  test('an ordinary save is one command; the script, if the server needs it, is sent once and again after SCRIPT FLUSH', async () => {
    const raw = await connectRaw(server.port);
    const counts = async () => {
      const stats = String(await raw.command('INFO', 'commandstats'));
      const of = (name) => Number(new RegExp(`^cmdstat_${name}:calls=(\\d+)`, 'm').exec(stats)?.[1] ?? 0);
      return { evalsha: of('evalsha'), eval: of('eval'), set: of('set') };
    };
    const store = open({ onConflict: 'merge' });
    const session = liveSession('abc');
    await raw.command('SCRIPT', 'FLUSH');
    // The first save finds no key; the second finds out how the server compares.
    await store.set('abc', session);
    await store.set('abc', Object.assign(session, { n: -1 }));
    await raw.command('CONFIG', 'RESETSTAT');

    for (let n = 0; n < 10; n++) await store.set('abc', Object.assign(session, { n }));

    const ordinary = await counts();
    // The SET inside the script counts as one.
    expect(ordinary).toEqual({ evalsha: ordinary.evalsha, eval: 0, set: 10 });
    expect([0, 10]).toContain(ordinary.evalsha);

    await raw.command('SCRIPT', 'FLUSH');
    await store.set('abc', Object.assign(session, { n: 10 }));
    expect(await other.get('abc')).toMatchObject({ n: 10 });
    await raw.close();
  });
});

// As in an upgrade or a downgrade.
describeServers(
  'a server that is replaced by another version on its port, starting with %s',
  (_server, program) => {
    test.each(['merge', 'reject'])(
      '%s: saves detect conflicts after the server is replaced by another version',
      async (onConflict) => {
        let server = await startRedis({ program });
        const { port, url } = server;
        const store = keepStore(new RedisStore({ url, onConflict }));
        const check = async () => {
          const put = (session) => askOnce(server, 'SET', 'sess:abc', JSON.stringify(session));
          await put({ cookie: {}, n: 0 });
          const session = await styles.callback(store, 'load', 'abc');
          session.mine = 1;
          await store.set('abc', session);
          await put({ cookie: {}, n: 0, theirs: 1, mine: 1 });
          session.mine = 2;
          const error = await store.set('abc', session).catch((reason) => reason);
          const stored = JSON.parse(await askOnce(server, 'GET', 'sess:abc'));
          if (onConflict === 'merge') expect(stored).toMatchObject({ n: 0, mine: 2, theirs: 1 });
          else {
            expect(error).toMatchObject({ code: 'ERR_SESSION_CONFLICT', stored: { theirs: 1 } });
            expect(stored).toMatchObject({ mine: 1, theirs: 1 });
          }
        };
        try {
          for (const next of findServers()) {
            await check();
            await server.stop();
            server = await startRedis({ program: next.program ?? program, port });
            await check();
          }
        } finally {
          await server.stop();
        }
      },
    );
  },
);

describe('4 processes, 64 clients and 2,000 requests, each adding a key to one of 10 sessions', () => {
  test.each(['merge', 'reject'])('%s: every key whose save succeeded is stored', async (onConflict) => {
    const settings = {
      kind: OURS,
      url: redis.server.url,
      storeOptions: { onConflict, commandTimeout: HANG_MS },
    };
    const apps = await Promise.all([1, 2, 3, 4].map(() => startApp(settings)));
    const visitors = Array.from({ length: 10 }, newVisitor);
    for (const visitor of visitors) await apps[0].get('/save?first=1', visitor);
    const saved = visitors.map(() => ['first']);
    let started = 0;
    let rejected = 0;
    const client = async () => {
      // With so many at once, at least a few conflict.
      while (started < 2000 || (onConflict === 'reject' && rejected === 0)) {
        const number = started++;
        const at = number % visitors.length;
        const { status, body } = await apps[number % 4].get(`/save?k${number}=1`, { ...visitors[at] });
        if (status === 200) saved[at].push(`k${number}`);
        else {
          expect(body.code).toBe('ERR_SESSION_CONFLICT');
          rejected++;
        }
      }
    };
    await Promise.all(Array.from({ length: 64 }, client));

    for (const [at, { id }] of visitors.entries()) {
      const { cookie, ...content } = await redis.stored(`sess:${id}`);
      expect(Object.keys(content).sort()).toEqual(saved[at].sort());
    }
    if (onConflict === 'merge') expect(rejected).toBe(0);
  });
});

describe('onConflict, touchAfter and saveDestroyed', () => {
  test.each([
    [{ onConflict: 'maybe' }, 'ERR_INVALID_ARG_VALUE'],
    [{ onConflict: 1 }, 'ERR_INVALID_ARG_TYPE'],
    [{ onConflict: 'merge', serializer: { parse: String, stringify: String } }, 'ERR_INVALID_ARG_VALUE'],
    [{ touchAfter: -1 }, 'ERR_OUT_OF_RANGE'],
    [{ touchAfter: Number.NaN }, 'ERR_OUT_OF_RANGE'],
    [{ touchAfter: 'a minute' }, 'ERR_INVALID_ARG_TYPE'],
    [{ saveDestroyed: 1 }, 'ERR_INVALID_ARG_TYPE'],
  ])('the constructor rejects %p', (options, code) => {
    expect(() => new RedisStore({ url: redis.server.url, ...options })).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(Object.keys(options)[0]) }),
    );
  });

  test('the `serializer` setter rejects a serializer when onConflict is merge', async () => {
    const store = await openStore('url', redis.port, { onConflict: 'merge' });
    expect(() => {
      store.serializer = { parse: String, stringify: String };
    }).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG_VALUE' }));
    expect(store).toMatchObject({
      onConflict: 'merge',
      touchAfter: 0,
      saveDestroyed: false,
      serializer: JSON,
    });
  });
});
