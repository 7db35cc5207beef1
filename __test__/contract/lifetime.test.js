'use strict';

const vm = require('node:vm');
const { useRedis } = require('../support/redis.js');
const { closeAll, openStore, styles } = require('../support/stores.js');
const { HOUR, liveSession } = require('../support/sessions.js');

const redis = useRedis();
afterEach(closeAll);

const DAY = 24 * HOUR;
// Redis starts to count down a moment after the test started to count.
const MOMENT = 10_000;

const withoutExpiry = liveSession('abc', {}, { maxAge: null });
const expiringAt = (expires) => ({ cookie: { expires } });

/** Expects the key of session `abc` to expire within a moment before `ms` from now. */
async function expectLifetime(ms) {
  const left = await redis.lifetime('sess:abc');
  expect(left).toBeLessThanOrEqual(ms);
  expect(left).toBeGreaterThan(ms - MOMENT);
}

describe('a cookie with an expiry', () => {
  test.each([
    ['as a Cookie', () => liveSession('abc', {}, { maxAge: HOUR })],
    ['as a Date', () => expiringAt(new Date(Date.now() + HOUR))],
    ['as an ISO string', () => expiringAt(new Date(Date.now() + HOUR).toISOString())],
    ['as a number of ms since 1970', () => expiringAt(Date.now() + HOUR)],
    ['as another format that Date reads', () => expiringAt(new Date(Date.now() + HOUR).toUTCString())],
  ])("the lifetime is the time to the cookie's expiry when it is stored %s", async (_kind, session) => {
    const store = await openStore('url', redis.port, { ttl: 60 });
    await store.set('abc', session());

    await expectLifetime(HOUR);
  });

  test('the lifetime is set to the millisecond', async () => {
    const store = await openStore('url', redis.port);

    await store.set('abc', liveSession('abc', {}, { maxAge: 20_150 }));
    await expectLifetime(20_150);

    await store.set('abc', liveSession('abc', {}, { maxAge: 150 }));
    expect(await redis.lifetime('sess:abc')).toBeLessThanOrEqual(150);
  });
});

describe('a cookie without an expiry', () => {
  test.each([
    ['a cookie without one', withoutExpiry],
    ['undefined', expiringAt(undefined)],
    ['null', expiringAt(null)],
    ['false', expiringAt(false)],
    ['0', expiringAt(0)],
    ['an empty string', expiringAt('')],
    ['a cookie that is null', { cookie: null }],
    ['no cookie', { user: 'ann' }],
  ])('the lifetime is the ttl when the expiry is %s', async (_kind, session) => {
    const store = await openStore('url', redis.port, { ttl: 600 });
    await store.set('abc', session);

    await expectLifetime(600_000);
  });

  test.each([undefined, null, 0])('the lifetime is one day when the ttl option is %s', async (ttl) => {
    const store = await openStore('url', redis.port, { ttl });
    expect(store.ttl).toBe(86_400);
    await store.set('abc', withoutExpiry);

    await expectLifetime(DAY);
  });

  test('the ttl may be a fraction of a second', async () => {
    const store = await openStore('url', redis.port, { ttl: 20.25 });
    await store.set('abc', withoutExpiry);
    await expectLifetime(20_250);

    const brief = await openStore('url', redis.port, { ttl: 0.15 });
    await brief.set('abc', withoutExpiry);
    expect(await redis.lifetime('sess:abc')).toBeLessThanOrEqual(150);
  });

  test('a ttl of less than a millisecond stores the session for one millisecond', async () => {
    const store = await openStore('url', redis.port, { ttl: 0.0001 });

    expect(await store.set('abc', withoutExpiry)).toBeNull();
    expect(await redis.lifetime('sess:abc')).toBeLessThanOrEqual(1);
  });
});

describe('a ttl function', () => {
  test('a ttl function receives the session and overrides the cookie', async () => {
    const seen = [];
    const ttl = (session) => {
      seen.push(session);
      return 600;
    };
    const store = await openStore('url', redis.port, { ttl });
    const session = liveSession('abc', {}, { maxAge: HOUR });

    await store.set('abc', session);
    await expectLifetime(600_000);
    await redis.command('PEXPIRE', 'sess:abc', 1_000_000);
    await store.touch('abc', session);
    await expectLifetime(600_000);
    expect(seen).toHaveLength(2);
    expect(seen.every((each) => each === session)).toBe(true);
  });

  test('a ttl function is called as a method of the store, as connect-redis does', async () => {
    const seen = new Set();
    const ttl = function () {
      seen.add(this);
      return 600;
    };
    const store = await openStore('url', redis.port, { ttl });
    const session = liveSession('abc', {}, { maxAge: HOUR });

    await store.set('abc', session);
    await store.touch('abc', session);
    expect([...seen]).toEqual([store]);

    seen.clear();
    await store.get('abc');
    expect([...seen]).toEqual([store]);
  });

  test('a ttl function overrides a cookie whose expiry cannot be read', async () => {
    const store = await openStore('url', redis.port, { ttl: () => 600 });
    await store.set('abc', expiringAt('never'));

    await expectLifetime(600_000);
  });

  test('a ttl function may return a fraction of a second', async () => {
    const store = await openStore('url', redis.port, { ttl: () => 20.25 });
    await store.set('abc', withoutExpiry);

    await expectLifetime(20_250);
  });

  test.each([0, -0, -0.5, -3600])(
    '`set` destroys the session when the ttl function returns %p',
    async (lifetime) => {
      const store = await openStore('url', redis.port);
      await store.set('abc', withoutExpiry);
      store.ttl = () => lifetime;

      expect(await store.set('abc', liveSession('abc', {}, { maxAge: HOUR }))).toBeNull();
      expect(await redis.keys()).toEqual([]);
    },
  );
});

describe.each(Object.entries(styles))('a ttl function that fails, in %s style', (_style, call) => {
  const failure = new Error('no lifetime for you');
  const bad = [
    [
      'throws',
      () => {
        throw failure;
      },
      (error) => expect(error).toBe(failure),
    ],
    ['returns NaN', () => Number.NaN, 'ERR_OUT_OF_RANGE'],
    ['returns Infinity', () => Number.POSITIVE_INFINITY, 'ERR_OUT_OF_RANGE'],
    ['returns more than Redis can hold', () => 1e300, 'ERR_OUT_OF_RANGE'],
    ['returns a string', () => 'an hour', 'ERR_INVALID_ARG_TYPE'],
    ['returns undefined', () => undefined, 'ERR_INVALID_ARG_TYPE'],
    ['returns null', () => null, 'ERR_INVALID_ARG_TYPE'],
    ['returns a bigint', () => 60n, 'ERR_INVALID_ARG_TYPE'],
    ['returns a promise', async () => 60, 'ERR_INVALID_ARG_TYPE'],
  ];

  test.each(bad)(
    '`set` and `touch` reject and change nothing when the ttl function %s',
    async (_what, ttl, expected) => {
      const store = await openStore('url', redis.port);
      await store.set('abc', { user: 'ann' });
      await redis.command('PEXPIRE', 'sess:abc', 600_000);
      store.ttl = ttl;

      for (const [method, id] of [
        ['set', 'abc'],
        ['touch', 'abc'],
        ['set', 'new'],
      ]) {
        const error = await call(store, method, id, liveSession(id, { user: 'bob' })).catch(
          (reason) => reason,
        );
        if (typeof expected === 'function') {
          expected(error);
        } else {
          expect(error).toMatchObject({ code: expected, message: expect.stringMatching(/ttl.*number/) });
        }
      }

      expect(await redis.keys()).toEqual(['sess:abc']);
      expect(await redis.stored('sess:abc')).toEqual({ user: 'ann' });
      await expectLifetime(600_000);
    },
  );
});

describe('a lifetime that has ended', () => {
  test.each([
    ['a moment ago', () => expiringAt(new Date(Date.now() - 1))],
    ['in 1970', () => expiringAt(new Date(1))],
    ['in 2001, as a string', () => expiringAt('2001-01-01T00:00:00.000Z')],
    ['before 1970', () => expiringAt(new Date(-1))],
  ])('`set` destroys the session when its expiry was %s', async (_when, session) => {
    const store = await openStore('url', redis.port);
    await store.set('abc', liveSession('abc'));

    expect(await store.set('abc', session())).toBeNull();
    expect(await redis.keys()).toEqual([]);
  });

  test('`touch` destroys the session when its expiry has passed', async () => {
    const store = await openStore('url', redis.port);
    await store.set('abc', liveSession('abc'));

    expect(await store.touch('abc', expiringAt(new Date(Date.now() - 1000)))).toBeNull();
    expect(await redis.keys()).toEqual([]);
  });
});

describe("a cookie's expiry that is not a time", () => {
  test.each([
    ['words', 'never'],
    ['Infinity', Number.POSITIVE_INFINITY],
    ['an object', {}],
    ['a function', () => 1],
    ['a symbol', Symbol('soon')],
    ['a bigint', 1n],
  ])('`set` and `touch` reject and change nothing when the expiry is %s', async (_what, expires) => {
    const store = await openStore('url', redis.port);
    await store.set('abc', { user: 'ann' });
    await redis.command('PEXPIRE', 'sess:abc', 600_000);

    for (const method of ['set', 'touch']) {
      const error = await store[method]('abc', { user: 'bob', ...expiringAt(expires) }).catch(
        (reason) => reason,
      );
      expect(error).toMatchObject({
        name: expect.stringMatching(/^(Type|Range)Error$/),
        code: expect.stringMatching(/^ERR_(INVALID_ARG_(TYPE|VALUE)|OUT_OF_RANGE)$/),
        message: expect.stringContaining('expires'),
      });
    }

    expect(await redis.stored('sess:abc')).toEqual({ user: 'ann' });
    await expectLifetime(600_000);
  });
});

describe.each([
  ['an Invalid Date', new Date(Number.NaN)],
  ['an Invalid Date of another realm', vm.runInNewContext('new Date(NaN)')],
])('a cookie whose expiry is %s', (_what, expires) => {
  test.each(['overwrite', 'merge'])(
    'a session with an invalid date is stored with the default ttl, onConflict: %s',
    async (onConflict) => {
      const store = await openStore('url', redis.port, { ttl: 100, onConflict });
      const session = liveSession('abc', { user: 'ann' });
      session.cookie.expires = expires;

      expect(await store.set('abc', session)).toBeNull();
      expect(Math.abs((await redis.lifetime('sess:abc')) - 100_000)).toBeLessThan(5000);
      await redis.command('PEXPIRE', 'sess:abc', '50000');
      expect(await store.touch('abc', session)).toBeNull();

      expect(Math.abs((await redis.lifetime('sess:abc')) - 100_000)).toBeLessThan(5000);
      expect(await store.get('abc')).toMatchObject({ user: 'ann' });
    },
  );
});

describe('disableTTL', () => {
  test.each([
    ['with an expiry', liveSession('abc')],
    ['without an expiry', withoutExpiry],
  ])('`set` with disableTTL stores a session without a lifetime: %s', async (_what, session) => {
    const store = await openStore('url', redis.port, { disableTTL: true });
    await store.set('abc', session);

    expect(await redis.lifetime('sess:abc')).toBe(-1);
  });

  test('`set` with disableTTL removes the lifetime of an earlier `set`', async () => {
    const store = await openStore('url', redis.port);
    await store.set('abc', withoutExpiry);
    store.disableTTL = true;
    await store.set('abc', withoutExpiry);

    expect(await redis.lifetime('sess:abc')).toBe(-1);
  });
});

describe('touch', () => {
  test('`touch` sets the lifetime and leaves the value', async () => {
    const store = await openStore('url', redis.port);
    await store.set('abc', liveSession('abc', { user: 'ann' }, { maxAge: 60_000 }));
    const before = await redis.command('GET', 'sess:abc');

    await store.touch('abc', liveSession('abc', { user: 'somebody else' }, { maxAge: HOUR }));

    await expectLifetime(HOUR);
    expect((await redis.command('GET', 'sess:abc')).equals(before)).toBe(true);
  });

  test('`touch` can shorten a lifetime, to the millisecond', async () => {
    const store = await openStore('url', redis.port);
    await store.set('abc', liveSession('abc'));

    await store.touch('abc', liveSession('abc', {}, { maxAge: 20_150 }));

    await expectLifetime(20_150);
  });

  test('`touch` of a session that does not exist succeeds and creates none', async () => {
    const store = await openStore('url', redis.port);

    expect(await store.touch('nobody', liveSession('nobody'))).toBeNull();
    expect(await redis.keys()).toEqual([]);
  });

  describe.each(['disableTouch', 'disableTTL'])('with %s', (option) => {
    let store;
    beforeEach(async () => {
      store = await openStore('url', redis.port, { [option]: true });
      await redis.command('SET', 'sess:abc', '{}', 'PX', 60_000);
    });

    test('a disabled `touch` calls back synchronously and leaves the lifetime', async () => {
      const calls = [];
      store.touch('abc', liveSession('abc'), (...args) => calls.push(args));

      expect(calls).toEqual([[null, null]]);
      await store.length();
      expect(calls).toHaveLength(1);
      await expectLifetime(60_000);
    });

    test('a disabled `touch` resolves with null', async () => {
      expect(await store.touch('abc', liveSession('abc'))).toBeNull();
      await expectLifetime(60_000);
    });

    test('a disabled `touch` does not call the ttl function', async () => {
      store.ttl = () => {
        throw new Error('called');
      };
      expect(await store.touch('abc', expiringAt('never'))).toBeNull();
    });
  });
});
