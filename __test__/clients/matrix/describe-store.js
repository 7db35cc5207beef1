'use strict';

const { AsyncLocalStorage } = require('node:async_hooks');
const { RedisStore } = require('../../..');
const { clients } = require('../../support/clients.js');
const { asRead, liveSession, shopVisitor } = require('../../support/sessions.js');
const { styles } = require('../../support/stores.js');
const { HANG_MS, until } = require('../../support/until.js');

const MINUTE = 60_000;
/** More than one SCAN returns, and enough for every shard of a cluster to have some. */
const MANY = 500;

/**
 * Describes the behaviour that a client, a topology or a server could change, for one row of the table in
 * docs/clients.md. Behaviour that no row can change is tested once, in __test__/contract.
 *
 * @param {object} row
 * @param {string} row.client one of `clients`; or `url` or `options`, with which a store needs no client
 * @param {object} row.redis the result of `useDeployment`
 * @param {'native' | 'client'} [row.transport] the transport that the store must use; by default its own choice
 * @param {boolean} [row.reportsEnd] true if the client reports that it was closed
 */
function describeStore({ client: name, redis, transport, reportsEnd = true }) {
  const kind = clients[name];
  const opened = { stores: [], clients: [] };

  async function openClient(options = {}) {
    const client = await kind.make[redis.place.topology](redis.place, options);
    opened.clients.push(client);
    await kind.connect(client);
    return client;
  }

  async function openStore(options = {}, client = undefined) {
    const where = kind
      ? { client: client ?? (await openClient()) }
      : withoutClient[name][redis.place.topology](redis.place);
    const store = new RedisStore({ ...where, commandTimeout: HANG_MS, ...options, transport });
    opened.stores.push(store);
    return store;
  }

  let store;
  beforeAll(async () => {
    store = await openStore();
  });
  afterAll(async () => {
    await Promise.all(opened.stores.map((each) => each.close()));
    for (const client of opened.clients) await kind.end(client);
  });

  // One object is one session: once destroyed, it stays destroyed.
  const newSession = () => liveSession('abc', shopVisitor());

  describe.each(Object.entries(styles))('called in %s style', (_style, call) => {
    test('`get`, `set`, `touch` and `destroy` work', async () => {
      const session = newSession();
      expect(await call(store, 'get', 'abc')).toBeNull();
      expect(await call(store, 'set', 'abc', session)).toBeNull();
      expect(await redis.keys()).toEqual(['sess:abc']);
      expect(await redis.text('sess:abc')).toBe(JSON.stringify(session));
      expect(await call(store, 'get', 'abc')).toEqual(asRead(session));

      expect(await call(store, 'touch', 'abc', liveSession('abc', {}, { maxAge: 10 * MINUTE }))).toBeNull();
      expect(await redis.lifetime('sess:abc')).toBeLessThanOrEqual(10 * MINUTE);
      expect(await call(store, 'touch', 'nobody', session)).toBeNull();
      expect(await redis.keys()).toEqual(['sess:abc']);

      expect(await call(store, 'destroy', 'abc')).toBeNull();
      expect(await call(store, 'destroy', 'abc')).toBeNull();
      expect(await redis.keys()).toEqual([]);
    });

    test('`all`, `ids`, `length` and `clear` work', async () => {
      await redis.store('cart:one', 'no session');
      expect(await call(store, 'all')).toEqual([]);
      expect(await call(store, 'ids')).toEqual([]);
      expect(await call(store, 'length')).toBe(0);

      for (const id of ['one', 'two']) await call(store, 'set', id, liveSession(id, { id }));
      expect((await call(store, 'ids')).sort()).toEqual(['one', 'two']);
      expect(await call(store, 'length')).toBe(2);
      const sessions = await call(store, 'all');
      expect(sessions.map(({ id }) => id).sort()).toEqual(['one', 'two']);
      expect(sessions.corrupt).toBe(0);

      expect(await call(store, 'clear')).toBeNull();
      expect(await redis.keys()).toEqual(['cart:one']);
    });
  });

  test('concurrent operations each return the result of their own session', async () => {
    const ids = Array.from({ length: MANY }, (_, number) => `id-${number}`);
    await Promise.all(ids.map((id) => store.set(id, { user: id })));
    const sessions = await Promise.all(ids.map((id) => store.get(id)));

    expect(sessions.map(({ user }) => user)).toEqual(ids);
  });

  test('`ids`, `length` and `all` return each of 500 sessions once', async () => {
    const ids = Array.from({ length: MANY }, (_, number) => `id-${number}`);
    await Promise.all(ids.map((id) => store.set(id, { user: id })));

    expect((await store.ids()).sort()).toEqual([...ids].sort());
    expect(await store.length()).toBe(MANY);
    const all = await store.all();
    expect(all.map(({ id, user }) => `${id} ${user}`).sort()).toEqual(ids.map((id) => `${id} ${id}`).sort());
    await store.clear();
    expect(await redis.keys()).toEqual([]);
  });

  test('operations on one session keep their order', async () => {
    const answers = [];
    for (let visits = 0; visits < 20; visits++) {
      answers.push(store.set('abc', { visits }));
      answers.push(store.get('abc'));
    }
    const visits = (await Promise.all(answers)).filter(Boolean).map((each) => each.visits);
    expect(visits).toEqual([...visits.keys()]);
    expect(visits).toHaveLength(20);
  });

  test.each([
    ['text of every width', 'aé☃😀e\u0301\u0000\u2028"\\\n\r'],
    ['lone surrogates', 'a\uD83Db\uDE00c'],
    ['a megabyte', 'x'.repeat(2 ** 20)],
  ])('`get` returns values as they were stored: %s', async (_what, text) => {
    await store.set('abc', { text });
    expect(await redis.text('sess:abc')).toBe(JSON.stringify({ text }));
    expect(await store.get('abc')).toEqual({ text });
  });

  test('ids and prefixes are literal text', async () => {
    const prefixed = await openStore({ prefix: 'a*[é]{b}?:' });
    await redis.store('axx[é]{b}y:1', '{}');
    const ids = ['1', '', '*', '😀 \r\n', '{c}'];
    for (const id of ids) await prefixed.set(id, { id });

    expect((await prefixed.ids()).sort()).toEqual([...ids].sort());
    for (const id of ids) expect(await prefixed.get(id)).toEqual({ id });
    await prefixed.clear();
    expect(await redis.keys()).toEqual(['axx[é]{b}y:1']);
  });

  test('lifetimes are exact to the millisecond', async () => {
    const start = Date.now();
    await store.set('abc', liveSession('abc', {}, { maxAge: 20_150 }));
    const left = await redis.lifetime('sess:abc');
    expect(left).toBeLessThanOrEqual(20_150);
    expect(left).toBeGreaterThanOrEqual(20_150 - (Date.now() - start) - 1);

    await store.touch('abc', liveSession('abc', {}, { maxAge: 150 }));
    expect(await redis.lifetime('sess:abc')).toBeLessThanOrEqual(150);
    await until(async () => (await store.get('abc')) === null);
  });

  test('sessions are stored without a lifetime with disableTTL', async () => {
    await store.set('abc', newSession());
    const lasting = await openStore({ disableTTL: true });
    await lasting.set('abc', newSession());
    expect(await redis.lifetime('sess:abc')).toBe(-1);
  });

  test('concurrent saves are merged, and a logout is final', async () => {
    const merging = await openStore({ onConflict: 'merge' });
    const load = () => styles.callback(merging, 'load', 'abc');
    await merging.set('abc', newSession());
    const [one, other] = [await load(), await load()];
    await Promise.all([
      merging.set('abc', Object.assign(one, { one: 1 })),
      merging.set('abc', Object.assign(other, { other: 1 })),
    ]);
    expect(await merging.get('abc')).toMatchObject({ one: 1, other: 1 });

    await merging.destroy('abc');
    await merging.set('abc', one);
    const plain = await styles.callback(store, 'load', 'abc');
    expect(plain).toBeUndefined();
    expect(await redis.keys()).toEqual([]);
  });

  test('`set` destroys a session whose lifetime has ended', async () => {
    await store.set('abc', newSession());
    await store.set('abc', { cookie: { expires: new Date(Date.now() - 1) } });
    expect(await redis.keys()).toEqual([]);
  });

  test('`get` rejects a corrupt record with ERR_SESSION_CORRUPT, and reads others', async () => {
    await store.set('good', { user: 'ann' });
    await redis.store('sess:bad', '{"user":');
    await redis.at('sess:list', 'RPUSH', 'sess:list', 'no string');

    const [good, bad, list] = await Promise.allSettled(['good', 'bad', 'list'].map((id) => store.get(id)));
    expect(good.value).toEqual({ user: 'ann' });
    expect(bad.reason).toMatchObject({ code: 'ERR_SESSION_CORRUPT', position: 8 });
    expect(list.reason).toMatchObject({ code: 'ERR_REDIS_REPLY', reply: 'WRONGTYPE' });
  });

  test('`all` leaves out a corrupt record, and counts it', async () => {
    await store.set('good', { user: 'ann' });
    await redis.store('sess:bad', '{"user":');
    await redis.at('sess:list', 'RPUSH', 'sess:list', 'no string');

    const sessions = await store.all();
    expect([...sessions]).toEqual([{ user: 'ann', id: 'good' }]);
    expect(sessions.corrupt).toBe(1);
  });

  test('a callback is called once, after its call has returned, in the async context of the call', async () => {
    const context = new AsyncLocalStorage();
    const calls = [];
    const done = new Promise((resolve) => {
      context.run('of the call', () =>
        store.get('nobody', (...args) => {
          calls.push([context.getStore(), ...args]);
          resolve();
        }),
      );
    });
    expect(calls).toEqual([]);
    await done;
    await store.length();
    expect(calls).toEqual([['of the call', null, null]]);
  });

  test('a closed store rejects operations, and leaves its client open', async () => {
    const client = kind && (await openClient());
    const closed = await openStore({}, client);
    const neighbour = await openStore({}, client);
    await closed.set('abc', { n: 1 });
    await closed.close();

    await expect(closed.get('abc')).rejects.toMatchObject({ code: 'ERR_STORE_CLOSED' });
    expect(await neighbour.get('abc')).toEqual({ n: 1 });
  });

  // A pool of redis does not report it.
  if (kind?.reportsEnd && reportsEnd)
    test('a store closes when its client is closed', async () => {
      const client = await openClient();
      const ending = await openStore({}, client);
      await ending.set('abc', { n: 1 });
      await (client.quit ?? client.close).call(client);
      await until(() => ending.status === 'closed');
      await expect(ending.get('abc')).rejects.toMatchObject({ code: 'ERR_STORE_CLOSED' });
    });

  if (kind?.keyPrefix)
    test("the client's keyPrefix comes before the store's prefix, and applies to every method", async () => {
      const prefixed = await openStore({}, await openClient({ keyPrefix: 'app:' }));
      await prefixed.set('abc', { n: 1 });
      await redis.store('sess:other', '{}');
      expect(await redis.keys()).toEqual(['app:sess:abc', 'sess:other']);
      expect(await prefixed.get('abc')).toEqual({ n: 1 });
      expect(await prefixed.ids()).toEqual(['abc']);
      expect((await prefixed.all()).map(({ id }) => id)).toEqual(['abc']);
      await prefixed.clear();
      expect(await redis.keys()).toEqual(['sess:other']);
    });

  if (kind?.Predecessor)
    test('sessions are those of connect-redis on the same client', async () => {
      const predecessor = new kind.Predecessor({ client: await openClient() });
      const start = Date.now();
      const session = newSession();
      await predecessor.set('theirs', session);
      await store.set('ours', session);

      const difference = (await redis.lifetime('sess:theirs')) - (await redis.lifetime('sess:ours'));
      // The predecessor rounds up to whole seconds.
      expect(Math.abs(difference)).toBeLessThanOrEqual(1000 + Date.now() - start);
      expect(await redis.text('sess:theirs')).toBe(await redis.text('sess:ours'));
      expect(await store.get('theirs')).toEqual(await predecessor.get('ours'));
      await predecessor.destroy('ours');
      await store.destroy('theirs');
      expect(await redis.keys()).toEqual([]);
    });
}

const list = (places) => places.map(({ host, port }) => `${host}:${port}`).join();

/** The options of a store that needs no client. */
const withoutClient = {
  url: {
    standalone: ({ places }) => ({ url: `redis://${list(places)}` }),
    sentinel: ({ name, places, password }) => ({
      url: `redis+sentinel://:${password}@${list(places)}/${name}`,
    }),
    cluster: ({ places, password }) => ({ url: `redis+cluster://:${password}@${list(places)}` }),
  },
  options: {
    sentinel: ({ name, places, password, sentinelPassword }) => ({
      sentinel: { name, addresses: places, password: sentinelPassword },
      password,
    }),
    cluster: ({ places, password }) => ({ cluster: places, password }),
  },
};

module.exports = { describeStore };
