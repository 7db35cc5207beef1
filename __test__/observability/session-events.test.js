'use strict';

const { AsyncLocalStorage } = require('node:async_hooks');
const diagnostics = require('node:diagnostics_channel');
const { once } = require('node:events');
const path = require('node:path');
const { inspect } = require('node:util');
const { Cookie, Store } = require('express-session');
const { sessionHash } = require('../../lib/observability/session-hash.js');
const { newVisitor, startApp, stopAll } = require('../sessions/processes.js');
const { serve } = require('../support/app.js');
const { useRedis } = require('../support/redis.js');
const { runNode } = require('../support/run.js');
const { NAMES, recordEvents } = require('../support/session-events.js');
const { HOUR, liveSession } = require('../support/sessions.js');
const { closeAll, openStore, served, styles } = require('../support/stores.js');
const { until } = require('../support/until.js');

const redis = useRedis();
let app;
afterEach(async () => {
  await app?.close();
  app = undefined;
  await stopAll();
  await closeAll();
});

const SHORT = 200;

/** Returns what `recordEvents` records of an event. */
const eventOf = (event, id, operation = 'set', details = {}) => ({
  event,
  operation,
  sessionHash: sessionHash(id),
  ...details,
});
const expired = (id, operation) => eventOf('expired', id, operation, { reason: 'idle' });
const conflict = (id, resolution) => eventOf('conflict', id, 'set', { resolution });

/** Resolves after the events of earlier operations: in a later turn of the event loop. */
const turn = () => new Promise((resolve) => setImmediate(resolve));
const gone = (id) => until(async () => (await redis.lifetime(`sess:${id}`)) === -2);
const put = (id, ms) => redis.command('SET', `sess:${id}`, JSON.stringify(liveSession(id)), 'PX', ms);
const load = (store, id) => styles.callback(store, 'load', id);
/** Saves a session with another store, as another process does. */
const saveElsewhere = async (id, data) => {
  const other = await openStore('url', redis.port);
  await other.set(id, { cookie: new Cookie({ maxAge: HOUR }).toJSON(), ...data });
};

const transports = {
  native: (options) => openStore('url', redis.port, options),
  client: (options) => openStore('redis6', redis.port, { transport: 'client', ...options }),
};
const combinations = Object.keys(transports).flatMap((transport) =>
  ['overwrite', 'merge', 'reject'].map((onConflict) => [transport, onConflict]),
);

describe.each(combinations)('transport %s, onConflict: %s', (transport, onConflict) => {
  const open = async (options) => {
    const store = await transports[transport]({ onConflict, ...options });
    return { store, events: recordEvents(store) };
  };

  test('a visit over HTTP emits `created` at the first save, and `destroyed` at the logout', async () => {
    const { store, events } = await open();
    app = await serve(store, { cookie: { maxAge: HOUR } }, (router, middleware) => {
      router.use(middleware);
      router.get('/keep', ({ session, query }, response) => {
        Object.assign(session, query);
        response.json('kept');
      });
      router.get('/look', ({ session }, response) => response.json(session.user ?? null));
      router.get('/regenerate', ({ session }, response) => {
        session.regenerate(() => response.json('regenerated'));
      });
      router.get('/logout', ({ session }, response) => session.destroy(() => response.json('out')));
    });
    const visitor = app.visitor();

    await visitor.get('/look');
    expect(events).toEqual([]);
    await visitor.get('/keep?user=ann');
    const { id } = visitor;
    await visitor.get('/keep?user=bob');
    expect((await visitor.get('/look')).body).toBe('bob');
    expect(events.splice(0)).toEqual([eventOf('created', id)]);

    await visitor.get('/regenerate');
    expect(visitor.id).not.toBe(id);
    expect(events.splice(0)).toEqual([eventOf('destroyed', id, 'destroy'), eventOf('created', visitor.id)]);

    await visitor.get('/keep?user=cy');
    await visitor.get('/logout');
    expect(events).toEqual([eventOf('destroyed', visitor.id, 'destroy')]);
  });

  test('`destroy` of a session that is not stored succeeds and emits no event', async () => {
    const { store, events } = await open();
    expect(await store.destroy('abc')).toBeNull();
    await turn();
    expect(events).toEqual([]);
  });

  test('of two destroys of one session, one emits `destroyed`', async () => {
    const { store, events } = await open();
    await store.set('abc', liveSession('abc'));
    await turn();
    events.length = 0;
    expect(await Promise.all([store.destroy('abc'), store.destroy('abc')])).toEqual([null, null]);
    await turn();
    expect(events).toEqual([eventOf('destroyed', 'abc', 'destroy')]);
  });

  test.each(['set', 'touch'])('`%s` with a lifetime in the past emits `destroyed`', async (method) => {
    const { store, events } = await open();
    const session = liveSession('abc');
    await store.set('abc', session);
    session.cookie.maxAge = -1;
    await store[method]('abc', session);
    await turn();
    expect(events).toEqual([eventOf('created', 'abc'), eventOf('destroyed', 'abc', 'destroy')]);
  });

  test('a save after a destroy by another process emits `discarded`, and with saveDestroyed nothing', async () => {
    for (const saveDestroyed of [false, true]) {
      const { store, events } = await open({ saveDestroyed });
      await saveElsewhere('abc', { user: 'ann' });
      const session = await load(store, 'abc');
      await redis.command('DEL', 'sess:abc');
      await store.set('abc', session);
      await turn();
      expect(events).toEqual(saveDestroyed ? [] : [eventOf('discarded', 'abc')]);
    }
  });

  test.each([
    ['get', (store) => store.get('abc')],
    ['touch', (store) => store.touch('abc', liveSession('abc'))],
  ])('`%s` emits `expired` once for a session whose end has passed', async (method, find) => {
    const { store, events } = await open();
    await store.set('abc', liveSession('abc', {}, { maxAge: SHORT }));
    await gone('abc');
    await Promise.all([find(store), find(store)]);
    await find(store);
    await turn();
    expect(events).toEqual([eventOf('created', 'abc'), expired('abc', method)]);
  });

  test('`set` of a session that has expired emits `expired` and `discarded`', async () => {
    const { store, events } = await open();
    const session = liveSession('abc', {}, { maxAge: SHORT });
    await store.set('abc', session);
    await gone('abc');
    expect(await store.set('abc', session)).toBe('discarded');
    await turn();
    expect(events.slice(1)).toEqual([expired('abc', 'set'), eventOf('discarded', 'abc')]);
  });

  test('`expired` is emitted for a session that was read, or touched, and not saved by this store', async () => {
    const { store, events } = await open();
    await until(async () => {
      await put('read', 2 * SHORT);
      return (await store.get('read')) !== null;
    });
    await put('touched', HOUR);
    await store.touch('touched', liveSession('touched', {}, { maxAge: SHORT }));
    for (const id of ['read', 'touched']) {
      await gone(id);
      expect(await store.get(id)).toBeNull();
    }
    await turn();
    expect(events).toEqual([expired('read', 'get'), expired('touched', 'get')]);
  });

  test('`expired` is not emitted for a session that was destroyed or cleared, here or elsewhere', async () => {
    const { store, events } = await open();
    for (const id of ['here', 'elsewhere', 'cleared']) await store.set(id, liveSession(id));
    await turn();
    events.length = 0;
    await store.destroy('here');
    await redis.command('DEL', 'sess:elsewhere');
    await store.get('here');
    await store.get('elsewhere');
    await store.clear();
    await store.get('cleared');
    await store.get('never stored');
    await turn();
    expect(events).toEqual([eventOf('destroyed', 'here', 'destroy')]);
  });

  test('a first save that fails emits no event, and the next one `created`', async () => {
    const { store, events } = await open();
    const session = liveSession('abc');
    await redis.command('CONFIG', 'SET', 'maxmemory', '1');
    await expect(store.set('abc', session)).rejects.toMatchObject({ reply: 'OOM' });
    await redis.command('CONFIG', 'SET', 'maxmemory', '0');
    await turn();
    expect(events).toEqual([]);
    await store.set('abc', session);
    await turn();
    expect(events).toEqual([eventOf('created', 'abc')]);
  });

  test('a first save that times out and may have been stored emits no event, and the next one `created`', async () => {
    const { store, events } = await open({ commandTimeout: 500 });
    await store.get('abc');
    const session = liveSession('abc', { n: 1 });
    redis.server.pause();
    await expect(store.set('abc', session)).rejects.toMatchObject({ code: /^ERR_REDIS/ });
    redis.server.resume();
    await served(store);
    expect(events).toEqual([]);
    session.n = 2;
    await until(() =>
      store.set('abc', session).then(
        () => true,
        () => false,
      ),
    );
    await turn();
    expect(await redis.stored('sess:abc')).toMatchObject({ n: 2 });
    expect(events).toEqual([eventOf('created', 'abc')]);
  });

  test('a plain object, and a session under another id, emit `created` only if saves are conditional', async () => {
    const { store, events } = await open();
    await store.set('plain', { cookie: {} });
    await store.set('audit', liveSession('abc'));
    const known =
      onConflict === 'overwrite' ? [] : [eventOf('created', 'plain'), eventOf('created', 'audit')];
    await store.set('plain', { cookie: {} });
    await turn();
    expect(events).toEqual(known);
  });

  test('events follow the callback of their operation, in its async context', async () => {
    const { store } = await open();
    const context = new AsyncLocalStorage();
    const order = [];
    for (const name of NAMES) store.on(name, () => order.push(`${name} ${context.getStore()}`));
    /** Runs an operation for each id in one tick, and so in one batch, in an async context of the id's name. */
    const run = async (method, ...args) => {
      const runOne = (id) => (done) =>
        store[method](id, ...args.map((make) => make(id)), () => {
          order.push(`callback ${context.getStore()}`);
          done();
        });
      await Promise.all(['a', 'b'].map((id) => context.run(id, () => new Promise(runOne(id)))));
      await turn();
      const of = (id) => order.filter((entry) => entry.endsWith(id));
      return [of('a'), of('b'), order.splice(0).length];
    };

    expect(await run('set', liveSession)).toEqual([
      ['callback a', 'created a'],
      ['callback b', 'created b'],
      4,
    ]);
    expect(await run('destroy')).toEqual([['callback a', 'destroyed a'], ['callback b', 'destroyed b'], 4]);
    expect(await run('get')).toEqual([['callback a'], ['callback b'], 2]);
  });
});

describe.each(Object.keys(transports))('conflicts, transport %s', (transport) => {
  const open = async (onConflict) => {
    const store = await transports[transport]({ onConflict });
    return { store, events: recordEvents(store) };
  };
  /** Saves a change of a session that was loaded before another process changed it. */
  const overlap = async (store, { mine = { mine: 1 }, theirs = { theirs: 1 } } = {}) => {
    await saveElsewhere('abc', { user: 'ann' });
    const session = await load(store, 'abc');
    await saveElsewhere('abc', { user: 'ann', ...theirs });
    Object.assign(session, mine);
    await store.set('abc', session).catch(() => {});
    await turn();
  };

  test.each([
    ['reject', 'rejected'],
    ['merge', 'merged'],
    [(_base, theirs, mine) => ({ ...theirs, ...mine }), 'function'],
    [
      () => {
        throw new Error('no answer');
      },
      'rejected',
    ],
    [() => 'no session', 'rejected'],
  ])('onConflict %p: a conflict emits `conflict` with the resolution %s', async (onConflict, resolution) => {
    const { store, events } = await open(onConflict);
    await overlap(store);
    expect(events).toEqual([conflict('abc', resolution)]);
  });

  test.each(['reject', 'merge', () => ({})])(
    'onConflict %p: a save emits no `conflict` if only one side has changed the session',
    async (onConflict) => {
      const { store, events } = await open(onConflict);
      await overlap(store, { mine: {} });
      await overlap(store, { theirs: {} });
      expect(events).toEqual([]);
    },
  );

  test('a new session whose id is taken emits `conflict`, and not `created`', async () => {
    const { store, events } = await open('reject');
    await saveElsewhere('abc', { user: 'ann' });
    await expect(store.set('abc', liveSession('abc', { user: 'bob' }))).rejects.toMatchObject({
      code: 'ERR_SESSION_CONFLICT',
    });
    await turn();
    expect(events).toEqual([conflict('abc', 'rejected')]);
  });
});

describe('frameworks', () => {
  const eventsOf = (running) => running.body('/events');

  test.each(['overwrite', 'merge'])(
    '@fastify/session emits `created` and `destroyed` once, onConflict: %s',
    async (onConflict) => {
      const running = await startApp({ url: redis.server.url, storeOptions: { onConflict } }, 'fastify.js');
      const visitor = newVisitor();
      await running.get('/keep?user=ann', visitor);
      const { id } = visitor;
      await running.get('/look', visitor);
      expect(await eventsOf(running)).toEqual([eventOf('created', id)]);
      await running.get('/logout', visitor);
      expect(await eventsOf(running)).toContainEqual(eventOf('destroyed', id, 'destroy'));
      const created = (await eventsOf(running)).filter(({ event }) => event === 'created');
      expect(created).toEqual([eventOf('created', id)]);
    },
  );

  test.each(['overwrite', 'merge'])(
    'express-openid-connect emits `created` at the login and `destroyed` at the logout, onConflict: %s',
    async (onConflict) => {
      const running = await startApp({ url: redis.server.url, storeOptions: { onConflict } }, 'openid.js');
      const visitor = newVisitor();
      await running.get('/keep?user=ann', visitor);
      const id = visitor.cookie;
      await running.get('/keep?seen=1', visitor);
      await running.get('/look', visitor);
      await running.get('/logout', visitor);
      expect(await eventsOf(running)).toEqual([eventOf('created', id), eventOf('destroyed', id, 'destroy')]);
    },
  );

  test('a session behind a wrapper without `createSession` emits `created` once', async () => {
    const store = await openStore('url', redis.port);
    const events = recordEvents(store);
    const wrapper = Object.assign(new Store(), {
      // As a copy, later: nothing but the cookie of the request shows that the session was loaded.
      get: (id, callback) =>
        store.get(id, (error, found) => setImmediate(callback, error, found && structuredClone(found))),
      set: (id, session, callback) => store.set(id, session, callback),
      touch: (id, session, callback) => store.touch(id, session, callback),
      destroy: (id, callback) => store.destroy(id, callback),
    });
    app = await serve(wrapper, {}, (router, middleware) => {
      router.use(middleware, ({ session, query }, response) => {
        Object.assign(session, query);
        response.json('kept');
      });
    });
    const visitor = app.visitor();
    for (const user of ['ann', 'bob', 'cy']) await visitor.get(`/?user=${user}`);
    expect(events).toEqual([eventOf('created', visitor.id)]);
  });
});

describe('the event', () => {
  const destroyed = async (options) => {
    const store = await openStore('url', redis.port, options);
    await store.set('abc', { cookie: {} });
    const [[event]] = await Promise.all([once(store, 'destroyed'), store.destroy('abc')]);
    return event;
  };

  test('an event has the id as a property that logs do not show', async () => {
    const event = await destroyed();
    expect(event.id).toBe('abc');
    expect(Object.keys(event)).toEqual(['operation', 'sessionHash']);
    for (const shown of [
      JSON.stringify(event),
      inspect(event),
      inspect(event, { showHidden: true }),
      inspect({ nested: { event } }, { depth: 9 }),
      inspect({ ...event }),
    ]) {
      expect(shown).toContain(sessionHash('abc'));
      expect(shown).not.toContain('abc');
    }
    expect(inspect({ event }, { depth: 0 })).toContain('[SessionEvent]');
  });

  test('`sessionHashKey` changes the hash, and the same key gives the same hash in another store', async () => {
    const hashes = [];
    for (const sessionHashKey of [undefined, 'a secret', 'a secret', 'another'])
      hashes.push((await destroyed({ sessionHashKey })).sessionHash);
    expect(hashes[0]).toBe(sessionHash('abc'));
    expect(hashes[1]).toBe(sessionHash('abc', 'a secret'));
    expect(hashes[2]).toBe(hashes[1]);
    expect(new Set(hashes).size).toBe(3);
    for (const hash of hashes) expect(hash).toMatch(/^[\w-]{22}$/);
  });

  test('`sessionHash()` returns the hash that events have', async () => {
    const store = await openStore('url', redis.port, { sessionHashKey: 'a secret' });
    expect(store.sessionHash('abc')).toBe(sessionHash('abc', 'a secret'));
    expect(store.sessionHash(1)).toBe(store.sessionHash('1'));
    expect(() => store.sessionHash({})).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }));
  });
});

test('an event of a traced operation is emitted in the async context of its call', async () => {
  const context = new AsyncLocalStorage();
  const { start } = diagnostics.tracingChannel('connect-redis-native:destroy');
  start.bindStore(context, () => 'the span');
  const store = await openStore('url', redis.port);
  await store.set('abc', { cookie: {} });

  const seen = new Promise((resolve) => store.once('destroyed', () => resolve(context.getStore())));
  await context.run('the call', () => store.destroy('abc'));

  expect(await seen).toBe('the call');
  start.unbindStore(context);
});

describe('diagnostics channels', () => {
  const channelOf = (name) => `connect-redis-native:session:${name}`;
  const subscribed = [];
  afterEach(() => {
    for (const [name, listener] of subscribed.splice(0)) diagnostics.unsubscribe(name, listener);
  });

  test('each event is published on its channel, also without a listener', async () => {
    const seen = [];
    for (const name of NAMES) {
      const listener = ({ operation, id }, channel) => seen.push([channel, operation, id]);
      subscribed.push([channelOf(name), listener]);
      diagnostics.subscribe(channelOf(name), listener);
    }
    const store = await openStore('url', redis.port, { onConflict: 'merge' });
    await saveElsewhere('abc', { user: 'ann' });
    const session = await load(store, 'abc');
    await saveElsewhere('abc', { theirs: 1 });
    session.mine = 1;
    await store.set('abc', session);
    await store.destroy('abc');
    await store.set('abc', session);
    await store.set('short', liveSession('short', {}, { maxAge: SHORT }));
    await gone('short');
    await store.get('short');
    await turn();

    expect(seen).toEqual([
      [channelOf('conflict'), 'set', 'abc'],
      [channelOf('destroyed'), 'destroy', 'abc'],
      [channelOf('discarded'), 'set', 'abc'],
      [channelOf('created'), 'set', 'short'],
      [channelOf('expired'), 'get', 'short'],
    ]);
  });

  test('a listener and a subscriber receive the same event', async () => {
    const seen = [];
    const listener = (event) => seen.push(event);
    subscribed.push([channelOf('created'), listener]);
    diagnostics.subscribe(channelOf('created'), listener);
    const store = await openStore('url', redis.port);
    store.on('created', listener);
    await store.set('abc', liveSession('abc'));
    await turn();
    expect(seen).toHaveLength(2);
    expect(seen[0]).toBe(seen[1]);
  });
});

test.each(['on', 'once', 'addListener', 'prependListener', 'prependOnceListener'])(
  'a listener added by `%s` receives `expired`',
  async (add) => {
    const store = await openStore('url', redis.port);
    const listener = jest.fn();
    expect(store[add]('expired', listener)).toBe(store);
    await store.set('abc', liveSession('abc', {}, { maxAge: SHORT }));
    await gone('abc');
    await store.get('abc');
    await turn();
    expect(listener).toHaveBeenCalledTimes(1);
  },
);

test('a session that was read from the cache is known to `expired`', async () => {
  const store = await openStore('url', redis.port, { cache: true });
  await once(store, 'ready');
  const events = recordEvents(store);
  await until(async () => {
    await put('abc', 3 * SHORT);
    await store.get('abc');
    const { hits } = store.cacheStats();
    await store.get('abc');
    return store.cacheStats().hits > hits;
  });
  await turn();
  events.length = 0;
  await gone('abc');
  await until(async () => (await store.get('abc')) === null);
  await turn();
  expect(events).toEqual([expired('abc', 'get')]);
});

test('the same id under another prefix is another session', async () => {
  const store = await openStore('url', redis.port);
  const events = recordEvents(store);
  await store.set('abc', liveSession('abc', {}, { maxAge: SHORT }));
  await gone('abc');
  store.prefix = 'other:';
  await store.get('abc');
  await turn();
  expect(events).toEqual([eventOf('created', 'abc')]);
  store.prefix = 'sess:';
  await store.get('abc');
  await turn();
  expect(events).toEqual([eventOf('created', 'abc'), expired('abc', 'get')]);
});

test('an exception of a listener or a subscriber is uncaught, and affects no operation', async () => {
  const { code, stdout } = await runNode(
    path.join(__dirname, 'programs', 'throwing-listener.js'),
    redis.server.url,
  );
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toEqual({
    results: [null, null, null],
    uncaught: [
      'listener of created',
      'listener of destroyed',
      'subscriber to created',
      'subscriber to destroyed',
    ],
  });
});
