'use strict';

const { useRedis } = require('../support/redis.js');
const { closeAll, familySources, openStore } = require('../support/stores.js');
const { asStored, liveSession, shopVisitor } = require('../support/sessions.js');

const redis = useRedis();
afterEach(closeAll);

const numbers = (count) => Array.from({ length: count }, (_, number) => number);

describe.each(familySources)('a store by %s', (source) => {
  let store;
  beforeEach(async () => {
    store = await openStore(source, redis.port);
  });

  test('10,000 sets and then 10,000 gets at once return each session under its own id', async () => {
    const all = numbers(10_000);
    const session = (number) => liveSession(`id-${number}`, shopVisitor(number));

    const results = await Promise.all(all.map((number) => store.set(`id-${number}`, session(number))));
    expect(results.every((result) => result === null)).toBe(true);

    const sessions = await Promise.all(all.map((number) => store.get(`id-${number}`)));
    expect(sessions.map(({ visits }) => visits)).toEqual(all);
    expect(sessions.map(({ user }) => user.name)).toEqual(all.map((number) => `Visitor ${number}`));
  });

  test('10,000 operations of every kind at once each return their own result', async () => {
    const kinds = {
      0: async (id) => {
        await store.set(id, { id });
        return store.get(id);
      },
      1: (id) => store.set(id, { id }),
      2: (id) => store.get(id),
      3: (id) => store.touch(id, { id }),
      4: (id) => store.destroy(id),
    };
    const work = numbers(10_000).map((number) => ({ id: `id-${number}`, kind: number % 5 }));

    const results = await Promise.all(work.map(({ id, kind }) => kinds[kind](id)));

    expect(results).toEqual(work.map(({ id, kind }) => (kind === 0 ? { id } : null)));
    const stored = work.filter(({ kind }) => kind < 2).map(({ id }) => id);
    expect((await store.ids()).sort()).toEqual(stored.sort());
  });

  test('500 gets at once return ASCII, two-byte, long, empty, missing and corrupt values under their own ids', async () => {
    const value = {
      0: (number) => ({ number, text: 'plain' }),
      1: (number) => ({ number, text: `値${number}😀` }),
      // Up to 40 KB: short texts are joined, large ones are not.
      2: (number) => ({ number, text: 'é'.repeat(40 * number) }),
      3: (number) => ({ number, text: 'long '.repeat(400 * (number % 20)) }),
    };
    const kindOf = (number) => number % 7;
    for (const number of numbers(500)) {
      const kind = kindOf(number);
      if (kind < 4) {
        await redis.command('SET', `sess:${number}`, JSON.stringify(value[kind](number)));
      } else if (kind === 4) await redis.command('SET', `sess:${number}`, '');
      else if (kind === 5) await redis.command('SET', `sess:${number}`, `{"値":${number}`);
    }

    const results = await Promise.allSettled(numbers(500).map((number) => store.get(String(number))));

    for (const [number, { status, value: session, reason }] of results.entries()) {
      const kind = kindOf(number);
      if (kind < 4) expect(session).toEqual(value[kind](number));
      else if (kind === 5) expect(reason.code).toBe('ERR_SESSION_CORRUPT');
      else expect({ status, session }).toEqual({ status: 'fulfilled', session: null });
    }
  });

  test('of 300 sets at once, values of up to 600 KB in one to four bytes per character go to their ids', async () => {
    const letters = ['a', 'é', '値', '😀'];
    const session = (number) => ({ number, text: letters[number % 4].repeat(2 ** (number % 18)) });

    await Promise.all(numbers(300).map((number) => store.set(String(number), session(number))));

    for (const number of numbers(300)) {
      const stored = await redis.command('GET', `sess:${number}`);
      expect(`${stored}` === JSON.stringify(session(number))).toBe(true);
    }
  });

  test('values of several megabytes stay separate when they are stored and read at once', async () => {
    const text = (number) => String.fromCharCode(97 + number, 0xe9).repeat(number % 2 ? 500_000 : 20);
    const session = (number) => ({
      number,
      text: number % 3 ? text(number) : text(number).replaceAll('é', ''),
    });

    await Promise.all(numbers(20).map((number) => store.set(String(number), session(number))));
    const sessions = await Promise.all(numbers(20).map((number) => store.get(String(number))));

    for (const number of numbers(20)) {
      expect(sessions[number].number).toBe(number);
      expect(sessions[number].text === session(number).text).toBe(true);
    }
  });

  test('`all`, `ids` and `length` return whole sessions while others are read and written', async () => {
    await Promise.all(numbers(300).map((number) => store.set(`id-${number}`, { number })));

    const [sessions, ids, length, ...read] = await Promise.all([
      store.all(),
      store.ids(),
      store.length(),
      ...numbers(300).map((number) => store.get(`id-${number}`)),
      ...numbers(300).map((number) => store.set(`id-${number}`, { number })),
    ]);

    expect(sessions.map(({ id, number }) => `${id} ${number}`).sort()).toEqual(
      numbers(300)
        .map((number) => `id-${number} ${number}`)
        .sort(),
    );
    expect(ids).toHaveLength(300);
    expect(length).toBe(300);
    expect(read.slice(0, 300).map(({ number }) => number)).toEqual(numbers(300));
  });
});

describe('operations called in one tick take effect in the order of their calls', () => {
  let store;
  beforeEach(async () => {
    store = await openStore('url', redis.port);
  });

  test('a `get` after a `set` in the same tick returns the new session', async () => {
    await store.set('abc', { visits: 1 });
    const [, session] = await Promise.all([store.set('abc', { visits: 2 }), store.get('abc')]);

    expect(session).toEqual({ visits: 2 });
  });

  test('a `get` before a `set` in the same tick returns the old session', async () => {
    await store.set('abc', { visits: 1 });
    const [session] = await Promise.all([store.get('abc'), store.set('abc', { visits: 2 })]);

    expect(session).toEqual({ visits: 1 });
    expect(await redis.stored('sess:abc')).toEqual({ visits: 2 });
  });

  test('each `get` between sets and destroys in the same tick returns the state at its place', async () => {
    const results = await Promise.all([
      store.get('abc'),
      store.set('abc', { visits: 1 }),
      store.get('abc'),
      store.set('abc', { visits: 2 }),
      store.set('abc', { visits: 3 }),
      store.get('abc'),
      store.destroy('abc'),
      store.get('abc'),
      store.set('abc', { visits: 4 }),
      store.get('abc'),
      store.set('abc', { cookie: { expires: new Date(1) } }),
      store.get('abc'),
    ]);

    expect(results).toEqual([
      null,
      null,
      { visits: 1 },
      null,
      null,
      { visits: 3 },
      null,
      null,
      null,
      { visits: 4 },
      null,
      null,
    ]);
  });

  test('the last of 2,000 sets in the same tick is stored', async () => {
    await Promise.all(numbers(2000).map((number) => store.set('abc', { number })));

    expect(await redis.stored('sess:abc')).toEqual({ number: 1999 });
  });

  test('small sets before and after one of megabytes take effect in order', async () => {
    const text = 'x'.repeat(3_000_000);
    await Promise.all([
      store.set('abc', { text: 'before' }),
      store.set('abc', { text }),
      store.set('other', { text: 'between' }),
      store.set('abc', { text: 'after' }),
    ]);

    expect(await redis.stored('sess:abc')).toEqual({ text: 'after' });
  });

  test('`ids`, `length` and `all` see the sets and destroys before them in the same tick', async () => {
    const results = await Promise.all([
      store.set('abc', { user: 'ann' }),
      store.set('def', { user: 'bob' }),
      store.destroy('def'),
      store.ids(),
      store.length(),
      store.all(),
    ]);

    expect(results.slice(3)).toEqual([['abc'], 1, [{ user: 'ann', id: 'abc' }]]);
  });

  // `clear` deletes with later commands than those that find keys: an id that existed before may be deleted after it
  // was set again.
  test('a `set` of a new id after `clear` in the same tick is stored', async () => {
    await store.set('abc', {});
    await Promise.all([store.clear(), store.set('def', { user: 'ann' })]);

    expect(await redis.keys()).toEqual(['sess:def']);
  });

  test('`clear` deletes what was set before it in the same tick', async () => {
    await Promise.all([store.set('abc', {}), store.set('def', {}), store.clear()]);

    expect(await redis.keys()).toEqual([]);
  });

  test('operations called before the connection is open take effect in order', async () => {
    const fresh = await openStore('url', redis.port);
    const results = await Promise.all([
      fresh.set('abc', { visits: 1 }),
      fresh.get('abc'),
      fresh.destroy('abc'),
      fresh.get('abc'),
    ]);

    expect(results).toEqual([null, { visits: 1 }, null, null]);
  });
});

describe('operations of several stores on one connection, called in one tick', () => {
  test('operations of two stores of the same sessions take effect in the order of their calls', async () => {
    const [one, other] = [await openStore('url', redis.port), await openStore('url', redis.port)];
    await one.set('abc', { visits: 1 });
    await one.set('def', { visits: 1 });

    const results = await Promise.all([
      one.get('abc'),
      other.set('abc', { visits: 2 }),
      one.get('abc'),
      other.destroy('abc'),
      other.get('def'),
      one.set('abc', { visits: 3 }),
      other.get('abc'),
      one.set('def', { visits: 2 }),
      other.destroy('def'),
    ]);

    expect(results.map((session) => session?.visits)).toEqual([
      1,
      undefined,
      2,
      undefined,
      1,
      undefined,
      3,
      undefined,
      undefined,
    ]);
    expect(await redis.keys()).toEqual(['sess:abc']);
  });

  test('operations of stores with nested prefixes take effect in order, also after a change of prefix', async () => {
    const outer = await openStore('url', redis.port, { prefix: 'app:' });
    const inner = await openStore('url', redis.port, { prefix: 'app:admin:' });
    await inner.set('abc', { visits: 1 });

    const ids = await Promise.all([
      outer.get('none'),
      inner.destroy('abc'),
      outer.ids(),
      inner.set('def', { visits: 1 }),
      outer.ids(),
    ]);
    expect(ids[2]).toEqual([]);
    expect(ids[4]).toEqual(['admin:def']);

    await outer.get('none');
    outer.get('none', () => {});
    inner.prefix = 'elsewhere:';
    const moved = inner.set('abc', { visits: 2 });
    outer.prefix = 'elsewhere:';
    expect(await outer.get('abc')).toEqual({ visits: 2 });
    await moved;
  });

  test('operations of 30 stores in turn take effect in the order of their calls', async () => {
    const stores = await Promise.all(numbers(30).map(() => openStore('url', redis.port)));
    const results = await Promise.all(
      numbers(300).map((number) =>
        number % 2 ? stores[(number * 7) % 30].get('abc') : stores[(number * 7) % 30].set('abc', { number }),
      ),
    );
    expect(results.filter((session) => session !== null)).toEqual(
      numbers(150).map((number) => ({ number: 2 * number })),
    );
  });
});

test('`set` stores the session as it was when `set` was called', async () => {
  const store = await openStore('url', redis.port);
  const session = liveSession('abc', { user: 'ann' });
  const stored = asStored(session);

  const done = store.set('abc', session);
  session.user = 'bob';
  session.cookie.maxAge = -1000;
  await done;

  expect(await redis.stored('sess:abc')).toEqual(stored);
});

test('several stores with different prefixes in one process keep their sessions apart', async () => {
  const stores = await Promise.all(
    numbers(5).map((number) => openStore('url', redis.port, { prefix: `app${number}:` })),
  );
  await Promise.all(
    stores.flatMap((store, app) => numbers(200).map((number) => store.set(`id-${number}`, { app, number }))),
  );

  const sessions = await Promise.all(
    stores.flatMap((store) => numbers(200).map((number) => store.get(`id-${number}`))),
  );

  expect(sessions).toEqual(stores.flatMap((_, app) => numbers(200).map((number) => ({ app, number }))));
});
