'use strict';

const path = require('node:path');
const { setImmediate: nextTurn } = require('node:timers/promises');
const { startRedis } = require('../../scripts/redis.js');
const { startProxy } = require('../support/proxy.js');
const { askOnce, useRedis } = require('../support/redis.js');
const { closeAll, openStore } = require('../support/stores.js');
const { endedWith, runNode } = require('../support/run.js');
const { NEVER_MS, until } = require('../support/until.js');
const { startApp, stopAll } = require('./processes.js');

const redis = useRedis();
afterEach(async () => {
  await stopAll();
  await closeAll();
});

const OURS = 'connect-redis-native';

/** Stores `count` sessions, `s0` and so on, in one step. */
async function fill(count, ttl = 60_000) {
  const script = `for n = 0, ${count - 1} do
    redis.call('SET', 'sess:s' .. n, '{"n":' .. n .. '}', 'PX', ${ttl})
  end`;
  await redis.command('EVAL', script, 0);
}

async function collect(iterator) {
  const entries = [];
  for await (const entry of iterator) entries.push(entry);
  return entries;
}

describe('scan', () => {
  let store;
  beforeEach(async () => {
    store = await openStore('url', redis.port);
  });

  test('`scan` returns every session once, with its id and its remaining seconds', async () => {
    await fill(1000);
    const entries = await collect(store.scan());
    expect(entries.map(({ id, session }) => `${id} ${session.n}`).sort()).toEqual(
      Array.from({ length: 1000 }, (_, n) => `s${n} ${n}`).sort(),
    );
    for (const { ttl } of entries) {
      expect(ttl).toBeGreaterThan(50);
      expect(ttl).toBeLessThanOrEqual(60);
    }
  });

  test('`scan` returns nothing when there are no sessions, and a ttl of null for one without an expiry', async () => {
    expect(await collect(store.scan())).toEqual([]);
    await redis.command('SET', 'sess:abc', '{"n":1}');
    expect(await collect(store.scan())).toEqual([{ id: 'abc', session: { n: 1 }, ttl: null }]);
  });

  test('`scan` treats `match` as a glob for ids and the prefix as literal text', async () => {
    await fill(200);
    await redis.command('SET', 'other:s1', '{}');
    const ids = async (options, from = store) =>
      (await collect(from.scan(options))).map(({ id }) => id).sort();
    expect(await ids({ match: 's1?' })).toEqual(Array.from({ length: 10 }, (_, n) => `s1${n}`));
    expect(await ids({ match: 's[12]' })).toEqual(['s1', 's2']);
    expect(await ids({ match: 'nobody' })).toEqual([]);
    expect(await ids({}, await openStore('url', redis.port, { prefix: 'sess:*' }))).toEqual([]);
  });

  test('`scan` returns the expiry in force', async () => {
    const cookie = { originalMaxAge: 60_000, expires: new Date(Date.now() - 5000).toISOString() };
    await redis.command('SET', 'sess:abc', JSON.stringify({ cookie }), 'PX', 60_000);
    const [{ session }] = await collect(store.scan());
    expect(Date.parse(session.cookie.expires)).toBeGreaterThan(Date.now() + 50_000);
  });

  test('`scan` returns a record that cannot be read without a session, with the reason', async () => {
    await fill(3);
    await redis.command('SET', 'sess:cut', '{"secret":');
    await redis.command('SET', 'sess:empty', '');
    await redis.command('LPUSH', 'sess:list', 'a');
    const entries = await collect(store.scan());
    expect(entries).toHaveLength(4);
    const { session, error } = entries.find(({ id }) => id === 'cut');
    expect(session).toBeNull();
    expect(error).toMatchObject({
      code: 'ERR_SESSION_CORRUPT',
      message: expect.stringMatching(/^scan failed: /),
    });
    expect(error.message).not.toContain('secret');
  });

  test('`scan` uses the serializer, and returns the error when an asynchronous parse rejects', async () => {
    await fill(3);
    const parse = async (text) => {
      if (text.includes('1')) throw new Error('refused');
      return { read: JSON.parse(text) };
    };
    const reading = await openStore('url', redis.port, { serializer: { parse, stringify: JSON.stringify } });
    const entries = await collect(reading.scan());
    expect(entries.find(({ id }) => id === 's2').session).toEqual({ read: { n: 2 } });
    expect(entries.find(({ id }) => id === 's1')).toMatchObject({
      session: null,
      error: new Error('refused'),
    });
  });

  test.each(['null', '5', '"secret"'])(
    '`scan` returns JSON that is not an object without a session: %s',
    async (text) => {
      await fill(1);
      await redis.command('SET', 'sess:odd', text);
      const entries = await collect(store.scan());
      const { session, error } = entries.find(({ id }) => id === 'odd');
      expect(session).toBeNull();
      expect(error).toMatchObject({ name: 'RedisStoreError', code: 'ERR_SESSION_CORRUPT' });
      expect(error.message).toBe('scan failed: a session under the prefix "sess:" is no object');
      expect((await store.all()).corrupt).toBe(1);
    },
  );

  test.each([
    ['returns null', () => null, 'ERR_SESSION_CORRUPT'],
    ['resolves with undefined', async () => undefined, 'ERR_SESSION_CORRUPT'],
    [
      'throws undefined',
      () => {
        throw undefined;
      },
      'ERR_APP_FUNCTION',
    ],
    ['rejects with null', () => Promise.reject(null), 'ERR_APP_FUNCTION'],
    ['returns a promise that never settles', () => new Promise(() => {}), 'ERR_APP_FUNCTION'],
  ])('`scan` returns a record with an error when parse %s', async (_what, parse, code) => {
    await fill(1);
    const serializer = { parse, stringify: JSON.stringify };
    const reading = await openStore('url', redis.port, { serializer, commandTimeout: 2000 });
    expect(await collect(reading.scan())).toMatchObject([
      { id: 's0', session: null, error: { name: 'RedisStoreError', code } },
    ]);
  });

  test('`scan` reads no more pages than are used', async () => {
    await fill(5000);
    const sessions = store.scan();
    await sessions.next();
    await nextTurn();
    await store.get('nobody');
    const asked = await redis.calls('get');
    expect(asked).toBeLessThan(300);
    for (let n = 0; n < 100; n++) await sessions.next();
    expect(await redis.calls('get')).toBe(asked);
    await sessions.return();
  });

  test.each([
    [
      'break',
      async (sessions) => {
        for await (const _ of sessions) break;
      },
    ],
    ['return', (sessions) => sessions.next().then(() => sessions.return())],
    [
      'an error in the loop',
      async (sessions) => {
        try {
          for await (const { id } of sessions) throw new Error(id);
        } catch {}
      },
    ],
  ])('`scan` ends without another SCAN command after %s', async (_how, leave) => {
    await fill(5000);
    const sessions = store.scan();
    await leave(sessions);
    const before = await redis.calls('scan');
    expect(await sessions.next()).toEqual({ value: undefined, done: true });
    await store.get('nobody');
    expect(await redis.calls('scan')).toBe(before);
  });

  test('`scan` rejects with the reason of its signal: aborted before, between and during pages', async () => {
    await fill(5000);
    const reason = new Error('enough');
    await expect(store.scan({ signal: AbortSignal.abort(reason) }).next()).rejects.toBe(reason);

    const between = new AbortController();
    let seen = 0;
    await expect(
      (async () => {
        for await (const _ of store.scan({ signal: between.signal }))
          if (++seen === 10) between.abort(reason);
      })(),
    ).rejects.toBe(reason);
    expect(seen).toBe(10);

    const waiting = new AbortController();
    const sessions = store.scan({ signal: waiting.signal });
    redis.server.pause();
    try {
      const next = sessions.next();
      waiting.abort(reason);
      await expect(next).rejects.toBe(reason);
    } finally {
      redis.server.resume();
    }
    expect(await sessions.next()).toEqual({ value: undefined, done: true });
  });

  test('`scan` rejects with the reason of its signal while parse is pending', async () => {
    await fill(1);
    const parse = jest.fn(() => new Promise(() => {}));
    const serializer = { parse, stringify: JSON.stringify };
    const reading = await openStore('url', redis.port, { serializer, commandTimeout: NEVER_MS });
    const controller = new AbortController();
    const reason = new Error('enough');
    const sessions = reading.scan({ signal: controller.signal });
    const first = sessions.next();
    await until(() => parse.mock.calls.length > 0);
    controller.abort(reason);
    await expect(first).rejects.toBe(reason);
    expect(await sessions.next()).toEqual({ value: undefined, done: true });
  });

  test.each(['alone', 'with another store on its connection'])(
    '`scan` rejects with ERR_STORE_CLOSED once the store is closed, also between pages: %s',
    async (setting) => {
      if (setting !== 'alone') await (await openStore('url', redis.port)).get('abc');
      await fill(1000);
      const sessions = store.scan();
      await sessions.next();
      await store.close();
      await expect(collect(sessions)).rejects.toMatchObject({ code: 'ERR_STORE_CLOSED' });
      await expect(store.scan().next()).rejects.toMatchObject({ code: 'ERR_STORE_CLOSED' });
    },
  );

  test.each([
    [null, 'ERR_INVALID_ARG_TYPE'],
    [{ count: 0.5 }, 'ERR_OUT_OF_RANGE'],
    [{ count: -1 }, 'ERR_OUT_OF_RANGE'],
    [{ count: 'ten' }, 'ERR_INVALID_ARG_TYPE'],
    [{ match: /a/ }, 'ERR_INVALID_ARG_TYPE'],
    [{ signal: {} }, 'ERR_INVALID_ARG_TYPE'],
  ])('`scan` throws for %p and names the option', (options, code) => {
    const [field] = Object.keys(options ?? { scan: options });
    const message = expect.stringContaining(options === null ? field : `"${field}"`);
    expect(() => store.scan(options)).toThrow(expect.objectContaining({ code, message }));
  });

  test.each([[{ count: 0 }], [{ count: null }], [{ match: null, signal: null }]])(
    "`scan` uses the store's scanCount with %p, as without the option",
    async (options) => {
      await fill(300);
      store.scanCount = 100_000;

      expect(await collect(store.scan(options))).toHaveLength(300);

      expect(await redis.calls('scan')).toBe(1);
    },
  );
});

test('a process ends by itself when a scan was left unfinished', async () => {
  await fill(5000);
  const program = path.join(__dirname, 'programs', 'half-scan.js');
  expect(await runNode(program, redis.server.url)).toEqual(endedWith('one'));
});

test('scans end, and return everything that is there throughout, while sessions are added and destroyed', async () => {
  await fill(5000);
  const store = await openStore('url', redis.port, { scanCount: 50 });
  let coming = true;
  const churn = (async () => {
    for (let n = 0; coming; n++) {
      await Promise.all([
        store.set(`new${n}`, { n }),
        store.destroy(`new${n - 20}`),
        store.set(`also${n}`, { n }),
      ]);
    }
  })();
  const ids = await store.ids();
  const scanned = (await collect(store.scan({ count: 50 }))).map(({ id }) => id);
  const length = await store.length();
  const all = (await store.all()).map(({ id }) => id);
  coming = false;
  await churn;

  for (const seen of [ids, scanned, all]) {
    expect(new Set(seen).size).toBe(seen.length);
    expect(seen.filter((id) => /^s\d/.test(id))).toHaveLength(5000);
  }
  expect(length).toBeGreaterThanOrEqual(5000);
});

test('`commandTimeout` bounds each step of a scan, not the whole', async () => {
  const limit = 2000;
  await fill(200);
  const network = await startProxy(redis.port);
  try {
    const store = await openStore('url', network.port, { scanCount: 5, commandTimeout: limit });
    network.delay({ request: 60 });
    for (const [listing, expected] of [
      [() => store.length(), 200],
      [async () => (await store.all()).length, 200],
      [async () => (await collect(store.scan())).length, 200],
      [() => store.clear(), null],
    ]) {
      const began = performance.now();
      expect(await listing()).toBe(expected);
      expect(performance.now() - began).toBeGreaterThan(limit);
    }
    await closeAll();
  } finally {
    await network.close();
  }
});

test('`length`, `all` and `clear` work on keys of all slots when `url` is a node that owns all slots', async () => {
  const server = await startRedis({
    args: ['--cluster-enabled', 'yes', '--cluster-config-file', 'nodes.conf', '--save', ''],
  });
  try {
    await askOnce(server, 'CLUSTER', 'ADDSLOTS', ...Array(16_384).keys());
    await until(async () => /cluster_state:ok/.test(await askOnce(server, 'CLUSTER', 'INFO')));
    const store = await openStore('url', server.port);
    for (let number = 0; number < 300; number++) await store.set(`s${number}`, { number });
    await askOnce(server, 'SET', 'other', 'kept');
    expect(await store.length()).toBe(300);
    expect(await store.all()).toHaveLength(300);
    await store.clear();
    expect((await askOnce(server, 'KEYS', '*')).map(String)).toEqual(['other']);
    await closeAll();
  } finally {
    await server.stop();
  }
});

describe.each([OURS, 'connect-redis 8.1', 'connect-redis 10'])('two Express processes on %s', (kind) => {
  const COUNT = 5000;

  test('scans use no command on all sessions, so that another process is served meanwhile', async () => {
    const [one, other] = await Promise.all([1, 2].map(() => startApp({ kind, url: redis.server.url })));
    const visitor = { cookie: undefined };
    await other.get('/keep?user=ann', visitor);
    await fill(COUNT);
    await redis.command('CONFIG', 'RESETSTAT');

    expect(await one.body('/store/length')).toBe(COUNT + 1);
    expect(await one.body('/count/all')).toBe(COUNT + 1);
    expect(await other.body('/look', visitor)).toMatchObject({ user: 'ann' });
    await one.body('/store/clear');
    await until(async () => (await redis.keys()).length === 0);

    const longest = {
      all: (await redis.calls('mget')) > 0 ? COUNT / (await redis.calls('mget')) : 1,
      clear: COUNT / ((await redis.calls('unlink')) + (await redis.calls('del'))),
    };
    // Keys per command, on average.
    if (kind === OURS) {
      expect(longest.all).toBe(1);
      expect(longest.clear).toBeLessThan(65);
    } else expect(longest).toEqual({ all: COUNT, clear: COUNT });
  });
});
