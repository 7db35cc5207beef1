'use strict';

const { AsyncLocalStorage } = require('node:async_hooks');
const path = require('node:path');
const { useRedis } = require('../support/redis.js');
const { endedWith, runNode } = require('../support/run.js');
const { closeAll, openStore } = require('../support/stores.js');
const { liveSession } = require('../support/sessions.js');

const redis = useRedis();
afterEach(closeAll);

// Runs in its own process, since an uncaught exception would end a worker of Jest.
const run = (program, ...args) =>
  runNode(path.join(__dirname, 'programs', program), redis.server.url, ...args);

describe('a callback that throws', () => {
  const methods = ['get', 'set', 'touch', 'destroy', 'all', 'ids', 'length', 'clear'];

  // The only one, the first, a middle and the last of those that complete together; and one of more than complete at
  // once.
  describe.each([
    [1, 0],
    [50, 0],
    [50, 20],
    [50, 49],
    [3000, 1500],
    [50, 20, 'client'],
  ])('of %i operations called in one tick, number %i', (count, thrower, transport = 'native') => {
    test.each(methods)(
      `%s on the ${transport} transport: a callback that throws is called once, its error is uncaught, and the others are called`,
      async (method) => {
        await redis.command('SET', 'sess:abc', '{"user":"ann"}');

        const { code, stdout, stderr } = await run('throwing-callback.js', method, count, thrower, transport);

        expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
        expect(JSON.parse(stdout)).toEqual({
          calledOnce: count,
          uncaught: ['thrown by the callback'],
          worksAfterwards: true,
        });
      },
    );
  });

  test('a callback that throws ends the process as any uncaught exception does', async () => {
    const { code, stdout, stderr } = await run('uncaught.js');

    expect({ code, stdout }).toEqual({ code: 1, stdout: 'called' });
    expect(stderr).toContain('Error: thrown by the callback');
    expect(stderr).toContain('uncaught.js');
  });
});

// express-session passes no callback to destroy if the app passed none, and ignores what it returns.
test('`destroy(id, undefined)` that fails does not end the process', async () => {
  await redis.command('CONFIG', 'SET', 'requirepass', 'secret');
  try {
    expect(await run('ignored-promise.js')).toEqual(endedWith('alive'));
  } finally {
    await redis.command('CONFIG', 'SET', 'requirepass', '');
  }
});

test('a promise that no one awaits causes an unhandled rejection when its operation fails', async () => {
  const { code, stderr } = await run('unawaited-promise.js');

  expect(code).toBe(1);
  expect(stderr).toContain('ERR_INVALID_ARG_TYPE');
});

test('a callback that throws within a domain is reported to the domain', async () => {
  const methods = ['get', 'get', 'set', 'touch', 'destroy', 'all', 'ids', 'length', 'clear', 'get'];

  expect(await run('domain.js')).toEqual(endedWith(methods.map((name) => `domain ${name} true`).join('\n')));
});

describe('the async context of the caller', () => {
  test.each(['get', 'set', 'touch', 'destroy', 'all', 'ids', 'length', 'clear'])(
    'the callback of %s runs in the async context of the caller',
    async (method) => {
      const store = await openStore('url', redis.port);
      const context = new AsyncLocalStorage();
      const session = liveSession('abc');
      const args = { get: ['abc'], set: ['abc', session], touch: ['abc', session], destroy: ['abc'] };

      const seen = await Promise.all(
        [1, 2, 3].map((request) =>
          context.run(
            request,
            () =>
              new Promise((resolve) => {
                store[method](...(args[method] ?? []), () => resolve(context.getStore()));
              }),
          ),
        ),
      );

      expect(seen).toEqual([1, 2, 3]);
    },
  );

  test.each([
    ['get', {}, false],
    ['get', {}, true],
    ['get', { cache: true }, false],
    ['all', {}, false],
    ['all', {}, true],
    ['scan', {}, false],
  ])(
    "the app's functions that %s calls run in the async context of the caller, with %p, asynchronous: %p",
    async (method, options, isAsync) => {
      const context = new AsyncLocalStorage();
      const seen = [];
      const note = (what) => seen.push(`${what} in ${context.getStore()}`);
      const parse = (text) => {
        note('parse');
        return JSON.parse(text);
      };
      const serializer = { parse: isAsync ? async (text) => parse(text) : parse, stringify: JSON.stringify };
      const ttl = () => {
        note('ttl');
        return 60;
      };
      const store = await context.run('first', () =>
        openStore('url', redis.port, { serializer, ttl, ...options }),
      );
      await store.set('abc', liveSession('abc'));
      const read = async () => {
        if (method !== 'scan') await store[method](...(method === 'get' ? ['abc'] : []));
        else for await (const { session } of store.scan()) expect(session).not.toBeNull();
      };

      for (const request of ['one', 'two']) {
        seen.length = 0;
        await context.run(request, read);
        expect(seen).toEqual([`parse in ${request}`, `ttl in ${request}`]);
      }
    },
  );
});

test('callbacks are called after the call returns, in the order of the calls', async () => {
  const store = await openStore('url', redis.port);
  const order = [];
  const done = Array.from(
    { length: 200 },
    (_, number) =>
      new Promise((resolve) => {
        const callback = () => {
          order.push(number);
          resolve();
        };
        if (number % 2) store.get(`id-${number}`, callback);
        else store.set(`id-${number}`, { number }, callback);
      }),
  );

  expect(order).toEqual([]);
  await Promise.all(done);
  expect(order).toEqual([...order.keys()]);
});

test('1,000 operations can be chained by callbacks', async () => {
  const store = await openStore('url', redis.port);

  await new Promise((resolve, reject) => {
    const next = (number) => {
      if (number === 1000) return resolve();
      store.set('abc', { number }, (setError) => {
        store.get('abc', (getError, session) => {
          if (setError || getError || session.number !== number)
            return reject(setError ?? getError ?? new Error(`${session.number} instead of ${number}`));
          next(number + 1);
        });
      });
    };
    next(0);
  });

  expect(await redis.stored('sess:abc')).toEqual({ number: 999 });
});

test('ttl, toJSON, stringify and parse can call the store that calls them', async () => {
  const store = await openStore('url', redis.port);
  const used = new Set();
  const useStore = (who) => {
    if (used.has(who)) return;
    used.add(who);
    store.set(`from-${who}`, {}, () => {});
  };
  store.ttl = () => {
    useStore('ttl');
    return 60;
  };
  store.serializer = {
    stringify(session) {
      useStore('stringify');
      return JSON.stringify(session);
    },
    parse(text) {
      useStore('parse');
      return JSON.parse(text);
    },
  };

  await store.set('abc', {
    toJSON() {
      useStore('toJSON');
      return { user: 'ann' };
    },
  });
  expect(await store.get('abc')).toEqual({ user: 'ann' });

  await store.length();
  expect(await redis.keys()).toEqual([
    'sess:abc',
    'sess:from-parse',
    'sess:from-stringify',
    'sess:from-toJSON',
    'sess:from-ttl',
  ]);
  expect(await redis.stored('sess:abc')).toEqual({ user: 'ann' });
});
