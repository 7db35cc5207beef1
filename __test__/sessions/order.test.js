'use strict';

const { AsyncLocalStorage } = require('node:async_hooks');
const { useRedis } = require('../support/redis.js');
const { liveSession } = require('../support/sessions.js');
const { closeAll, openStore, served, styles } = require('../support/stores.js');

const redis = useRedis();
afterEach(async () => {
  redis.server.resume();
  await closeAll();
});

const open = (options) => openStore('url', redis.port, options);
const load = (store, id) => styles.callback(store, 'load', id);
const put = (id, session) => redis.command('SET', `sess:${id}`, JSON.stringify(session));

/** Returns a session that the store has saved and that was changed elsewhere since. */
async function contested(store, id = 'abc') {
  const session = liveSession(id, { n: 1 });
  await store.set(id, session);
  await put(id, { cookie: {}, n: 99, theirs: 1 });
  session.n = 2;
  return session;
}

/** Short, but long enough for Redis to answer on a busy machine. */
const SHORT_MS = 1000;

/** Resumes the server, and waits until an operation of the store succeeds. */
async function resume(store) {
  redis.server.resume();
  await served(store);
}

const takesTheirs = async (_base, theirs, mine) => {
  await new Promise((resolve) => setImmediate(resolve));
  return { ...theirs, ...mine };
};

const policies = { reject: 'reject', merge: 'merge', 'a function': takesTheirs };

describe.each(Object.entries(policies))('onConflict: %s', (_name, onConflict) => {
  test.each([false, true])(
    'operations called after saves take effect after them, saveDestroyed: %p',
    async (saveDestroyed) => {
      const store = await open({ onConflict, saveDestroyed });
      const discarded = jest.fn();
      store.on('discarded', discarded);
      const session = liveSession('abc', { n: 1 });

      const first = store.set('abc', session);
      session.n = 2;
      const second = store.set('abc', session);
      const seen = store.get('abc');
      const touched = store.touch('abc', session);
      const destroyed = store.destroy('abc');
      const seenLast = store.get('abc');

      await Promise.all([first, second, touched, destroyed]);
      expect(await seen).toMatchObject({ n: 2 });
      expect(await seenLast).toBeNull();
      expect(await redis.keys()).toEqual([]);
      expect(discarded).not.toHaveBeenCalled();
    },
  );

  test('operations keep their order when the server has forgotten the script', async () => {
    const store = await open({ onConflict });
    await contested(store, 'other').then((session) => store.set('other', session).catch(() => {}));
    await redis.command('SCRIPT', 'FLUSH');
    const saved = store.set('abc', liveSession('abc', { n: 1 }));
    const seen = store.get('abc');
    const destroyed = store.destroy('abc');
    await Promise.all([saved, destroyed]);
    expect(await seen).toMatchObject({ n: 1 });
    expect(await redis.command('EXISTS', 'sess:abc')).toBe(0);
  });

  test('queued operations use the prefix that was set when they were called', async () => {
    const store = await open({ onConflict, cache: true });
    const session = await contested(store);
    const first = store.set('abc', session).catch(() => {});
    session.n = 3;
    const second = store.set('abc', session).catch(() => {});
    const seen = store.get('abc');
    const touched = store.touch('abc', liveSession('abc', {}, { maxAge: 600_000 }));
    store.prefix = 'other:';
    const third = store.set('abc', liveSession('abc', { n: 4 }));
    const seenElsewhere = store.get('abc');

    await Promise.all([first, second, third, touched]);

    const n = onConflict === 'reject' ? 99 : 3;
    expect(await seen).toMatchObject({ n, theirs: 1 });
    expect(await redis.stored('sess:abc')).toMatchObject({ n, theirs: 1 });
    expect(await redis.lifetime('sess:abc')).toBeLessThanOrEqual(600_000);
    expect(await seenElsewhere).toMatchObject({ n: 4 });
    expect(await redis.stored('other:abc')).toMatchObject({ n: 4 });
    expect(await redis.keys()).toEqual(['other:abc', 'sess:abc']);

    const destroyed = [store.set('abc', session), store.destroy('abc')];
    store.prefix = 'sess:';
    await Promise.allSettled(destroyed);
    expect(await redis.keys()).toEqual(['sess:abc']);
  });

  test('all operations on a session end by the deadline of their own call when Redis does not answer', async () => {
    const store = await open({ onConflict, commandTimeout: SHORT_MS });
    const session = liveSession('abc');
    await store.set('abc', session);
    redis.server.pause();
    const calls = [
      ...Array.from({ length: 4 }, () => store.set('abc', session)),
      store.get('abc'),
      store.touch('abc', session),
      store.destroy('abc'),
    ];
    const ended = [];
    for (const call of calls) call.catch(({ code }) => ended.push(code));
    // Two deadlines, one after the other. If each call also waited for the deadline of the previous one, seven calls
    // would take seven.
    for (let times = 0; times < 2; times++) await expect(store.get('other')).rejects.toThrow();
    expect(ended).toEqual(Array(calls.length).fill(expect.stringMatching(/^ERR_REDIS_/)));
    await resume(store);
    // An operation whose deadline had passed was not started.
    await store.set('abc', session);
    expect(await redis.keys()).toEqual(['sess:abc']);
  });

  test('`close` waits for queued saves', async () => {
    const store = await open({ onConflict });
    const session = await contested(store);
    const first = store.set('abc', session);
    session.n = 3;
    const second = store.set('abc', session);
    const closed = store.close();
    const results = await Promise.allSettled([first, second, closed]);
    const expected = onConflict === 'reject' ? 'rejected' : 'fulfilled';
    expect(results.map(({ status }) => status)).toEqual([expected, expected, 'fulfilled']);
    if (onConflict !== 'reject') expect(await redis.stored('sess:abc')).toMatchObject({ n: 3, theirs: 1 });
    await expect(store.set('abc', session)).rejects.toMatchObject({ code: 'ERR_STORE_CLOSED' });
  });

  test('a conflict rejects `set` at once with saveDestroyed, too', async () => {
    const store = await open({ onConflict, saveDestroyed: true });
    const session = await contested(store);
    await redis.command('CONFIG', 'RESETSTAT');
    await store.set('abc', session).catch((error) => expect(error.code).toBe('ERR_SESSION_CONFLICT'));
    const stats = String(await redis.command('INFO', 'commandstats'));
    const attempts = [...stats.matchAll(/cmdstat_(?:evalsha|eval|set):calls=(\d+)/g)];
    expect(attempts.reduce((sum, [, calls]) => sum + Number(calls), 0)).toBeLessThan(6);
  });

  test('a session that is also stored under another id remains loaded under its own', async () => {
    const store = await open({ onConflict });
    await put('abc', { cookie: {}, n: 1 });
    const session = await load(store, 'abc');
    for (const n of [2, 3]) {
      session.n = n;
      await store.set('backup', session);
      await store.set('abc', session);
      expect(await redis.stored('sess:abc')).toMatchObject({ n });
      expect(await redis.stored('sess:backup')).toMatchObject({ n });
    }
    await redis.command('DEL', 'sess:abc');
    await store.set('abc', session);
    expect(await redis.command('EXISTS', 'sess:abc')).toBe(0);
  });

  test('a save whose reply was lost is no conflict for the next save', async () => {
    const store = await open({ onConflict, commandTimeout: SHORT_MS });
    const session = liveSession('abc', { n: 1 });
    await store.get('abc');
    redis.server.pause();
    await expect(store.set('abc', session)).rejects.toMatchObject({ code: /^ERR_REDIS_/ });
    await resume(store);
    // Stored as if the save had arrived, which the store cannot know.
    await redis.command('SET', 'sess:abc', JSON.stringify(session));
    session.n = 2;
    await store.set('abc', session);
    expect(await redis.stored('sess:abc')).toMatchObject({ n: 2 });
  });

  test('a save whose reply was lost can be undone by the next save', async () => {
    const store = await open({ onConflict, commandTimeout: SHORT_MS });
    await put('abc', { cookie: {}, n: 1 });
    const session = await load(store, 'abc');
    const save = async (n) => {
      session.n = n;
      redis.server.pause();
      await expect(store.set('abc', session)).rejects.toMatchObject({ code: /^ERR_REDIS_/ });
      const text = JSON.stringify(session);
      await resume(store);
      return text;
    };

    await redis.command('SET', 'sess:abc', await save(2));
    session.n = 1;
    await store.set('abc', session);
    expect(await redis.stored('sess:abc')).toMatchObject({ n: 1 });

    // A save that never arrived is repeated; one of a session that others destroyed is discarded.
    const before = JSON.stringify(await redis.stored('sess:abc'));
    await save(3);
    await redis.command('SET', 'sess:abc', before);
    await store.set('abc', session);
    expect(await redis.stored('sess:abc')).toMatchObject({ n: 3 });
    await save(4);
    await redis.command('DEL', 'sess:abc');
    await store.set('abc', session);
    expect(await redis.keys()).toEqual([]);
  });

  test.each([true, false])(
    'the first of two saves whose replies were lost may be the stored one, loaded: %p',
    async (isLoaded) => {
      const store = await open({ onConflict, commandTimeout: SHORT_MS });
      if (isLoaded) await put('abc', { cookie: {}, n: 1 });
      const session = isLoaded ? await load(store, 'abc') : liveSession('abc', { n: 1 });
      await store.get('abc');
      const texts = [];
      redis.server.pause();
      for (const n of [2, 3]) {
        session.n = n;
        await expect(store.set('abc', session)).rejects.toMatchObject({ code: /^ERR_REDIS_/ });
        texts.push(JSON.stringify(session));
      }
      await resume(store);
      await redis.command('SET', 'sess:abc', texts[0]);
      session.n = 1;
      await store.set('abc', session);
      expect(await redis.stored('sess:abc')).toMatchObject({ n: 1 });
    },
  );

  test('a save whose reply was lost is compared with the loaded session when others changed what it stored', async () => {
    const store = await open({ onConflict, commandTimeout: SHORT_MS });
    await put('abc', { cookie: {}, n: 1, m: 1 });
    const session = await load(store, 'abc');
    redis.server.pause();
    Object.assign(session, { n: 2, m: 2 });
    await expect(store.set('abc', session)).rejects.toMatchObject({ code: /^ERR_REDIS_/ });
    await resume(store);
    const theirs = { ...JSON.parse(JSON.stringify(session)), theirs: 1 };
    await put('abc', theirs);
    session.n = 1;
    if (onConflict === 'reject') {
      await expect(store.set('abc', session)).rejects.toMatchObject({
        code: 'ERR_SESSION_CONFLICT',
        stored: { n: 2, theirs: 1 },
      });
      return;
    }
    await store.set('abc', session);
    const expected = { n: onConflict === 'merge' ? 2 : 1, m: 2, theirs: 1 };
    expect(await redis.stored('sess:abc')).toMatchObject(expected);
  });

  test('plain objects of the app are stored as they are', async () => {
    const store = await open({ onConflict });
    await put('abc', { cookie: { originalMaxAge: 60_000, expires: '2099-01-01T00:00:00.000Z' }, n: 1 });
    const session = await store.get('abc');
    await store.destroy('abc');
    await store.set('abc', session);
    expect(await redis.keys()).toEqual(['sess:abc']);
    session.cookie.expires = new Date(0);
    await store.set('abc', session);
    expect(await redis.keys()).toEqual([]);
  });
});

describe('onConflict function', () => {
  test.each([
    ['never settles', () => new Promise(() => {})],
    ['waits for a save of the same session', (_base, theirs, mine) => mine.store.set('abc', theirs)],
  ])(
    'a save ends by its deadline when its onConflict function %s, and other operations go on',
    async (_what, onConflict) => {
      const store = await open({ onConflict, commandTimeout: SHORT_MS });
      const session = await contested(store);
      Object.defineProperty(session, 'store', { value: store });
      const contest = store.set('abc', session);
      const seen = store.get('abc');
      await expect(contest).rejects.toMatchObject({ code: 'ERR_SESSION_CONFLICT' });
      await seen.catch(({ code }) => expect(code).toBe('ERR_REDIS_TIMEOUT'));
      expect(await store.get('abc')).toMatchObject({ n: 99 });
    },
  );

  test('onConflict, parse and stringify run in the async context of the save', async () => {
    const context = new AsyncLocalStorage();
    const seen = new Set();
    const note = (run) => (value) => {
      seen.add(context.getStore());
      return run(value);
    };
    const store = await open({
      onConflict: (_base, theirs) => note(() => theirs)(),
      serializer: { parse: note(JSON.parse), stringify: note(JSON.stringify) },
    });
    const session = await contested(store);
    seen.clear();
    await context.run('mine', () => store.set('abc', session));
    expect([...seen]).toEqual(['mine']);
  });

  test('`set` rejects with ERR_SESSION_CORRUPT, without quoting the text, when the stored text is not JSON', async () => {
    const store = await open({ onConflict: (_base, theirs) => theirs });
    const session = await contested(store);
    await redis.command('SET', 'sess:abc', 'password=hunter2');
    const failure = await store.set('abc', session).catch((error) => error);
    expect(failure).toMatchObject({ code: 'ERR_SESSION_CORRUPT' });
    expect(failure.message).not.toContain('hunter2');
  });

  test.each([
    ['is not UTF-8', Buffer.from('{"cookie":{},"name":"J\xfcrg"}', 'latin1')],
    ['is empty', ''],
  ])('`set` rejects with ERR_SESSION_CONFLICT at once when the stored text %s', async (_what, stored) => {
    const decide = jest.fn((_base, theirs) => theirs);
    const store = await open({ onConflict: decide });
    await redis.command('SET', 'sess:abc', stored);
    const session = liveSession('abc', { n: 1 });
    await expect(store.set('abc', session)).rejects.toMatchObject({ code: 'ERR_SESSION_CONFLICT' });
    expect(decide.mock.calls.length).toBeLessThan(2);
  });
});

test('a save after one that failed does not count its session as destroyed', async () => {
  const store = await open();
  const discarded = jest.fn();
  store.on('discarded', discarded);
  await store.get('abc');
  const session = liveSession('abc', { n: 1 });
  await redis.command('CONFIG', 'SET', 'maxmemory', '1');
  const first = store.set('abc', session);
  const second = store.set('abc', session);
  await expect(first).rejects.toMatchObject({ reply: 'OOM' });
  await expect(second).rejects.toMatchObject({ reply: 'OOM' });
  await redis.command('CONFIG', 'SET', 'maxmemory', '0');
  await store.set('abc', session);
  expect(await redis.stored('sess:abc')).toMatchObject({ n: 1 });
  expect(discarded).not.toHaveBeenCalled();
});

test('a touch after a save that failed is sent', async () => {
  const store = await open({ touchAfter: 200, ttl: 1000 });
  await put('abc', { cookie: {}, n: 1 });
  await redis.command('PEXPIRE', 'sess:abc', 400_000);
  const session = await load(store, 'abc');
  await redis.command('CONFIG', 'SET', 'maxmemory', '1');
  await expect(store.set('abc', session)).rejects.toMatchObject({ reply: 'OOM' });
  await redis.command('CONFIG', 'SET', 'maxmemory', '0');
  await store.touch('abc', session);
  expect(await redis.command('PTTL', 'sess:abc')).toBeGreaterThan(800_000);
});

describe('a framework that creates its own sessions', () => {
  class Loaded {
    constructor(session) {
      Object.assign(this, session);
    }
  }

  test.each([
    ['only the cookie', {}],
    ['the expiry that was loaded', { originalExpires: new Date(Date.now() + 60_000) }],
  ])(
    'a session that the app ends by its cookie is destroyed when the framework keeps %s',
    async (_what, more) => {
      const store = await open();
      await put('abc', { cookie: { originalMaxAge: 60_000, expires: '2099-01-01T00:00:00.000Z' } });
      const session = new Loaded(await store.get('abc'));
      Object.assign(session.cookie, more, { expires: new Date(0) });
      await store.set('abc', session);
      expect(await redis.keys()).toEqual([]);
    },
  );

  test('a session that has outlived its cookie since it was loaded is not destroyed', async () => {
    const store = await open();
    await put('abc', { cookie: { originalMaxAge: 60_000, expires: '2099-01-01T00:00:00.000Z' } });
    const session = new Loaded(await store.get('abc'));
    session.cookie.expires = new Date(Date.now() - 1);
    while (Date.now() - 2 < session.cookie.expires.getTime()) await new Promise(setImmediate);
    session.cookie.expires = new Date(Date.now() - 1);
    await store.set('abc', session);
    expect(await redis.keys()).toEqual(['sess:abc']);
  });
});

test('a session saved under one prefix is stored as new under another', async () => {
  const store = await open({ prefix: 'a:' });
  const session = liveSession('abc', { n: 1 });
  await store.set('abc', session);
  store.prefix = 'b:';
  await store.set('abc', session);
  expect(await redis.keys()).toEqual(['a:abc', 'b:abc']);
});

test.each([undefined, null, 0, ''])(
  'an operation rejects with ERR_APP_FUNCTION when a function of the app throws %p',
  async (value) => {
    const fail = () => {
      throw value;
    };
    const expected = { code: 'ERR_APP_FUNCTION' };
    const session = liveSession('abc');
    for (const options of [{ ttl: fail }, { serializer: { parse: JSON.parse, stringify: fail } }]) {
      const store = await open(options);
      await expect(store.set('abc', session)).rejects.toMatchObject(expected);
    }
    await expect((await open({ ttl: fail })).touch('abc', session)).rejects.toMatchObject(expected);
    const store = await open({ onConflict: fail });
    await expect(store.set('abc', await contested(store))).rejects.toMatchObject(expected);
  },
);
