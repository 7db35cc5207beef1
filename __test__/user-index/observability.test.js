'use strict';

const { AsyncLocalStorage } = require('node:async_hooks');
const diagnostics = require('node:diagnostics_channel');
const { sessionHash } = require('../../lib/observability/session-hash.js');
const { useRedis } = require('../support/redis.js');
const { recordEvents } = require('../support/session-events.js');
const { closeAll, openStore } = require('../support/stores.js');
const { collect, load, logIn, userId } = require('./support.js');

const redis = useRedis();
afterEach(closeAll);

const transports = {
  native: (options) => openStore('url', redis.port, options),
  client: (options) => openStore('redis6', redis.port, { transport: 'client', ...options }),
};

/** Resolves after the events of earlier operations: in a later turn of the event loop. */
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Returns the figures of an operation that do not depend on time. */
const figures = (store, operation) => {
  const { count, failed } = store.stats().operations[operation];
  return { count, failed };
};

/** Records the events of the traces of `set` and `destroy` while `run` runs. */
async function traced(run) {
  const traces = [];
  const listen = (event) => (context) => traces.push({ event, context });
  const subscribed = ['set', 'destroy'].map((operation) => {
    const channel = diagnostics.tracingChannel(`connect-redis-native:${operation}`);
    const listeners = { start: listen('start'), asyncEnd: listen('asyncEnd'), error: listen('error') };
    channel.subscribe({ ...listeners, end() {}, asyncStart() {} });
    return () => channel.unsubscribe(listeners);
  });
  try {
    await run();
  } finally {
    for (const unsubscribe of subscribed) unsubscribe();
  }
  return traces.map(({ event, context: { operation, attempts, serverPort } }) => ({
    event,
    operation,
    ...(event === 'asyncEnd' ? { attempts, serverPort } : {}),
  }));
}

describe.each(Object.keys(transports))('transport %s', (transport) => {
  const open = (options) => transports[transport]({ userId, ...options });

  test.each(['overwrite', 'merge'])(
    'with onConflict: %s, a session that is destroyed for its user emits `destroyed` once',
    async (onConflict) => {
      const store = await open({ onConflict, sessionHashKey: 'k' });
      const ids = ['a', 'b', 'c'];
      for (const id of ids) await logIn(store, id, 1);
      const handles = (await collect(store.sessionsOf(1))).map(({ handle }) => handle);
      const hashes = ids.map((id) => sessionHash(id, 'k'));
      expect(handles.sort()).toEqual([...hashes].sort());
      const events = recordEvents(store);
      await store.destroyByHandle(1, hashes[1]);
      await store.destroyAllOf(1);
      await turn();
      const destroyed = (hash) => ({ event: 'destroyed', operation: 'destroy', sessionHash: hash });
      expect(events).toHaveLength(3);
      expect(events).toEqual(expect.arrayContaining(hashes.map(destroyed)));
    },
  );

  test('a session that a limit ends emits `destroyed` once, in the context of the login', async () => {
    const store = await open({ maxSessionsOf: 1 });
    await logIn(store, 'old', 1);
    const context = new AsyncLocalStorage();
    const events = recordEvents(store);
    const contexts = [];
    store.on('destroyed', () => contexts.push(context.getStore()));
    await context.run('login', () => logIn(store, 'new', 1));
    await turn();
    expect(events.filter(({ event }) => event === 'destroyed')).toEqual([
      { event: 'destroyed', operation: 'destroy', sessionHash: sessionHash('old') },
    ]);
    expect(contexts).toEqual(['login']);
  });

  test('a login counts as one `set`, also if it is refused, and its scripts do not count', async () => {
    const store = await open({ maxSessionsOf: 1, onSessionLimit: 'reject' });
    await logIn(store, 'a', 1);
    expect(figures(store, 'set')).toEqual({ count: 1, failed: 0 });
    expect(figures(store, 'get')).toEqual({ count: 0, failed: 0 });
    await expect(logIn(store, 'b', 1)).rejects.toMatchObject({ name: 'RedisStoreError', operation: 'set' });
    expect(figures(store, 'set')).toEqual({ count: 2, failed: 1 });
    expect(store.stats()).toMatchObject({ errors: { ERR_SESSION_LIMIT: 1 }, inFlight: 0 });
  });

  test('a login, a save and a logout are each traced once, with the server that replied', async () => {
    const store = await open();
    const traces = await traced(async () => {
      await logIn(store, 'a', 1);
      const session = await load(store, 'a');
      await store.set('a', Object.assign(session, { userId: 2 }));
      await store.destroy('a');
    });
    const once = (operation) => [
      { event: 'start', operation },
      { event: 'asyncEnd', operation, attempts: 1, serverPort: redis.port },
    ];
    expect(traces).toEqual([...once('set'), ...once('set'), ...once('destroy')]);
  });
});
