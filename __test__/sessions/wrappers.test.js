'use strict';

const { Store } = require('express-session');
const { keyOf, serve } = require('../support/app.js');
const { useRedis } = require('../support/redis.js');
const { discardOf, liveSession } = require('../support/sessions.js');
const { closeAll, openStore, styles } = require('../support/stores.js');

const redis = useRedis();
let app;
afterEach(async () => {
  await app?.close();
  await closeAll();
});

/** A wrapper around the store, as apps write them to measure or to log. */
class Measuring extends Store {
  constructor(store) {
    super();
    this.store = store;
  }

  get(id, callback) {
    this.store.get(id, callback);
  }

  set(id, session, callback) {
    this.store.set(id, session, callback);
  }

  touch(id, session, callback) {
    this.store.touch(id, session, callback);
  }

  destroy(id, callback) {
    this.store.destroy(id, callback);
  }
}

class Copying extends Measuring {
  get(id, callback) {
    super.get(id, (error, session) => callback(error, session && JSON.parse(JSON.stringify(session))));
  }
}

class Delegating extends Measuring {
  createSession(request, session) {
    return this.store.createSession(request, session);
  }
}

class Awaiting extends Delegating {
  get(id, callback) {
    this.store.get(id).then((session) => callback(null, session), callback);
  }

  set(id, session, callback) {
    this.store.set(id, session).then(() => callback(null), callback);
  }
}

function replacing(store) {
  const { get } = store;
  store.get = (id, callback) => get.call(store, id, callback);
  return store;
}

function binding(store) {
  const bound = (value) => (typeof value === 'function' ? value.bind(store) : value);
  return new Proxy(store, { get: (target, name) => bound(target[name]) });
}

const copying = {
  'that copies what was loaded': (store) => new Copying(store),
};
const delegating = {
  'that delegates what express-session calls': (store) => new Measuring(store),
  'that delegates createSession as well': (store) => new Delegating(store),
  'that calls the store for promises': (store) => new Awaiting(store),
  'that replaces a method': replacing,
  'that is a Proxy and binds methods': binding,
  'that is a Proxy and binds nothing': (store) => new Proxy(store, {}),
  'that has the store as its prototype': (store) => Object.create(store),
};

async function visit(wrap, options) {
  const store = await openStore('url', redis.port, options);
  const wrapped = wrap(store);
  app = await serve(wrapped, { cookie: { maxAge: 60_000 } }, (router, middleware) => {
    router.use(middleware);
    router.get('/keep', async (request, response, next) => {
      const { meanwhile, ...query } = request.query;
      // A command that another process runs while this request does.
      if (meanwhile !== undefined) await redis.command(...JSON.parse(meanwhile));
      Object.assign(request.session, query);
      request.session.save((error) => (error ? next(error) : response.json('saved')));
    });
    router.get('/look', ({ session }, response) => response.json(session.user ?? null));
  });
  return { store, visitor: app.visitor() };
}

const meanwhile = (...command) => `meanwhile=${encodeURIComponent(JSON.stringify(command))}`;

describe.each(Object.entries({ ...copying, ...delegating }))('a wrapper %s', (_way, wrap) => {
  test('a logout during a request is final when the store is wrapped', async () => {
    const { store, visitor } = await visit(wrap);
    const discarded = jest.fn();
    store.on('discarded', discarded);
    await visitor.get('/keep?user=ann');
    await visitor.get('/keep?user=bob');
    expect((await visitor.get('/look')).body).toBe('bob');

    const answer = await visitor.get(`/keep?seen=1&${meanwhile('DEL', keyOf(visitor))}`);

    expect(answer).toMatchObject({ status: 200, body: 'saved' });
    expect(await redis.keys()).toEqual([]);
    expect(discarded.mock.calls).toEqual([[discardOf(visitor.id)]]);
    // A visitor with the old cookie gets a new session.
    await visitor.get('/keep?user=cy');
    expect((await visitor.get('/look')).body).toBe('cy');
  });
});

describe.each(Object.entries({ ...copying, ...delegating }))('a wrapper %s', (_way, wrap) => {
  test('a session that outlived its cookie during a request, while others visited, is not destroyed', async () => {
    const store = await openStore('url', redis.port);
    const load = styles.callback.bind(undefined, wrap(store), 'load');
    await store.set('abc', liveSession('abc'));
    const session = await load('abc');
    const { originalMaxAge } = session.cookie;
    session.cookie.expires = new Date(Date.now() - 1000);
    session.cookie.originalMaxAge = originalMaxAge;
    await load('abc');

    await new Promise((resolve) => session.save(resolve));

    expect(await store.get('abc')).not.toBeNull();
  });
});

describe.each(Object.entries(copying))('a wrapper %s', (_way, wrap) => {
  test('a logout is final for each of the last 8,192 loaded sessions when a wrapper copies them', async () => {
    const store = await openStore('url', redis.port);
    const load = styles.callback.bind(undefined, wrap(store), 'load');
    const ids = Array.from({ length: 20_000 }, (_, number) => `s${number}`);
    const text = JSON.stringify(liveSession('any'));
    await redis.command('MSET', ...ids.flatMap((id) => [`sess:${id}`, text]));
    const discarded = jest.fn();
    store.on('discarded', discarded);

    // One in 97, so that the point at which the store forgets does not matter.
    const loadedSessions = new Map();
    for (const [number, id] of ids.entries()) {
      const session = await load(id);
      // As a visitor's request presents it.
      session.req.headers = { cookie: `theme=dark; connect.sid=${encodeURIComponent(`s:${id}.signature`)}` };
      if (number % 97 === 0) loadedSessions.set(number + 8191, session);
      const last = loadedSessions.get(number);
      if (last === undefined) continue;
      await redis.command('DEL', `sess:${last.id}`);
      await new Promise((resolve) => last.save(resolve));
      expect(discarded).toHaveBeenLastCalledWith(discardOf(last.id));
    }
    expect(discarded).toHaveBeenCalledTimes(122);
  });

  test('a copied session is stored if its request has not presented the id, or another session is stored under it', async () => {
    const store = await openStore('url', redis.port);
    const wrapped = wrap(store);
    const load = styles.callback.bind(undefined, wrapped, 'load');
    const discarded = jest.fn();
    store.on('discarded', discarded);
    const cases = {
      'no cookies': () => undefined,
      'another cookie': () => 'connect.sid=s%3Aabcd.signature; other=xabc',
      'destroyed by this process': async () => {
        await store.destroy('abc');
        return 'connect.sid=s%3Aabc.signature';
      },
      'not there when it was last read': async () => {
        await redis.command('DEL', 'sess:abc');
        await store.get('abc');
        return 'connect.sid=s%3Aabc.signature';
      },
    };
    for (const [name, begin] of Object.entries(cases)) {
      await store.set('abc', liveSession('abc'));
      const session = await load('abc');
      session.req.headers = { cookie: await begin() };
      session.name = name;
      await redis.command('DEL', 'sess:abc');
      await new Promise((resolve) => session.save(resolve));
      expect(await redis.stored('sess:abc')).toMatchObject({ name });
    }
    expect(discarded).not.toHaveBeenCalled();
  });

  test('a copied session with a deterministic id is stored after regenerate', async () => {
    const store = await openStore('url', redis.port);
    const discarded = jest.fn();
    store.on('discarded', discarded);
    const options = { cookie: { maxAge: 60_000 }, genid: () => 'same' };
    app = await serve(wrap(store), options, (router, middleware) => {
      router.use(middleware);
      router.get('/renew', ({ session }, response) => {
        session.regenerate((error) => {
          const { session: renewed } = response.req;
          renewed.user = 'ann';
          renewed.save(() => response.json(error ?? 'saved'));
        });
      });
    });
    const visitor = app.visitor();
    for (let times = 0; times < 3; times++) {
      expect((await visitor.get('/renew')).body).toBe('saved');
      expect(await redis.stored('sess:same')).toMatchObject({ user: 'ann' });
      if (times === 1) await redis.command('FLUSHALL');
    }
    expect(discarded).not.toHaveBeenCalled();
  });

  test.each(['reject', 'merge', (_base, _theirs, mine) => mine])(
    'a logout is final when a wrapper copies sessions and conflicts are detected, onConflict: %p',
    async (onConflict) => {
      const { visitor } = await visit(wrap, { onConflict });
      await visitor.get('/keep?user=ann');

      const answer = await visitor.get(`/keep?seen=1&${meanwhile('DEL', keyOf(visitor))}`);

      expect(answer).toMatchObject({ status: 200, body: 'saved' });
      expect(await redis.keys()).toEqual([]);
    },
  );

  test('a copied session conflicts unless it equals the stored one', async () => {
    const { visitor } = await visit(wrap, { onConflict: 'reject' });
    await visitor.get('/keep?user=ann');

    expect(await visitor.get('/keep?user=ann')).toMatchObject({ status: 200, body: 'saved' });
    expect(await visitor.get('/keep?user=bob')).toMatchObject({
      status: 500,
      body: { code: 'ERR_SESSION_CONFLICT', message: expect.stringContaining('createSession') },
    });
    expect((await visitor.get('/look')).body).toBe('ann');
  });
});

describe.each(Object.entries(delegating))('a wrapper %s', (_way, wrap) => {
  test('changes made by others during a request are merged when the store is wrapped', async () => {
    const { visitor } = await visit(wrap, { onConflict: 'merge' });
    await visitor.get('/keep?user=ann');
    const theirs = JSON.stringify({ cookie: {}, user: 'ann', theirs: 1 });

    const answer = await visitor.get(`/keep?mine=1&${meanwhile('SET', keyOf(visitor), theirs)}`);

    expect(answer.body).toBe('saved');
    expect(await redis.stored(keyOf(visitor))).toMatchObject({ user: 'ann', theirs: 1, mine: '1' });
  });

  test('touches within touchAfter are not sent when the store is wrapped', async () => {
    const { visitor } = await visit(wrap, { touchAfter: 30 });
    await visitor.get('/keep?user=ann');
    await redis.command('PEXPIRE', keyOf(visitor), '50000');

    await visitor.get('/look');

    expect(await redis.lifetime(keyOf(visitor))).toBeLessThanOrEqual(50_000);
  });
});
