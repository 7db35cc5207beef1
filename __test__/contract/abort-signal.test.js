'use strict';

const { AsyncLocalStorage } = require('node:async_hooks');
const { getEventListeners } = require('node:events');
const { setImmediate: turn } = require('node:timers/promises');
const { useRedis } = require('../support/redis.js');
const { liveSession } = require('../support/sessions.js');
const { closeAll, openStore, recordCalls, served, styles } = require('../support/stores.js');
const { NEVER_MS, until } = require('../support/until.js');

const redis = useRedis();
afterEach(async () => {
  // After a test during which Redis does not answer.
  redis.server.resume();
  await closeAll();
});

const COUNT = 5000;
/** A `clear` of so many, page by page, takes longer than a poll. */
const MANY = 100_000;
const fill = (count = COUNT) =>
  redis.command('EVAL', 'for n = 1, ARGV[1] do redis.call("SET", "sess:" .. n, "{\\"n\\":1}") end', 0, count);
const listeners = (signal) => getEventListeners(signal, 'abort').length;
const reason = new Error('enough');
const pages = { scanCount: 10 };

const settings = {
  'the native transport': ['url', {}],
  'a cache': ['url', { cache: true }],
  'the client transport': ['redis6', { transport: 'client' }],
};
const calls = [
  ['get', ['1']],
  ['all', []],
  ['ids', []],
  ['length', []],
  ['clear', []],
];

describe.each(Object.entries(settings))('with %s', (_name, [source, options]) => {
  const open = (more) => openStore(source, redis.port, { commandTimeout: NEVER_MS, ...options, ...more });

  describe.each(calls)('%s', (method, args) => {
    test.each(Object.entries(styles))(
      'has its result when its signal is not aborted, and leaves no listener: %s',
      async (_style, call) => {
        const store = await open();
        await store.set('1', liveSession('1'));
        const expected = method === 'clear' ? null : await store[method](...args);
        const { signal } = new AbortController();

        expect(await call(store, method, ...args, { signal })).toEqual(expected);

        expect(listeners(signal)).toBe(0);
      },
    );

    test.each(Object.entries(styles))(
      'fails at once with the reason of its signal while Redis does not answer: %s',
      async (_style, call) => {
        const store = await open();
        await store.length();
        const controller = new AbortController();
        redis.server.pause();
        const pending = call(store, method, ...args, { signal: controller.signal });
        await turn();
        controller.abort(reason);

        await expect(pending).rejects.toBe(reason);

        expect(listeners(controller.signal)).toBe(0);
        redis.server.resume();
        await served(store);
      },
    );

    test('calls back once: the completion that comes after the abort is ignored', async () => {
      const store = await open();
      await store.length();
      const controller = new AbortController();
      const { calls: received, called, callback } = recordCalls();
      redis.server.pause();
      store[method](...args, { signal: controller.signal }, callback);
      await turn();
      controller.abort(reason);
      expect(await called).toEqual([reason, null]);
      redis.server.resume();
      await store.close();

      expect(received).toHaveLength(1);
    });

    test('sends nothing if its signal is aborted already', async () => {
      await fill();
      const store = await open();
      await store.destroy('warm-up');
      await redis.command('CONFIG', 'RESETSTAT');

      await expect(store[method](...args, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
      await store.close();

      for (const command of ['get', 'scan', 'unlink', 'del']) expect(await redis.calls(command)).toBe(0);
      expect(await redis.command('DBSIZE')).toBe(COUNT);
    });
  });

  // The hooks abort when the operation has read a part of the sessions.
  test('an aborted `all` reads no further pages and parses no further sessions', async () => {
    await fill();
    const controller = new AbortController();
    let parsed = 0;
    const parse = (text) => {
      if (++parsed === 50) controller.abort(reason);
      return JSON.parse(text);
    };
    const store = await open({ ...pages, serializer: { parse, stringify: JSON.stringify } });

    await expect(store.all({ signal: controller.signal })).rejects.toBe(reason);
    await store.close();

    expect(parsed).toBe(50);
    expect(await redis.calls('scan')).toBeLessThan(COUNT / pages.scanCount / 2);
  });

  test.each(['ids', 'length'])('an aborted `%s` scans no further', async (method) => {
    await fill();
    const store = await open(pages);
    await store.destroy('warm-up');
    const controller = new AbortController();
    redis.server.pause();
    const pending = store[method]({ signal: controller.signal });
    await turn();
    controller.abort(reason);
    await expect(pending).rejects.toBe(reason);
    redis.server.resume();
    await store.close();

    expect(await redis.calls('scan')).toBeLessThan(10);
  });

  test('an aborted `clear` stops deleting after the page in flight', async () => {
    await fill(MANY);
    const store = await open(pages);
    const controller = new AbortController();
    const pending = store.clear({ signal: controller.signal });
    const aborted = expect(pending).rejects.toBe(reason);
    await until(async () => (await redis.command('DBSIZE')) < MANY);
    redis.server.pause();
    controller.abort(reason);
    await aborted;
    redis.server.resume();
    // Waits for the operations in flight.
    await store.close();

    expect(await redis.command('DBSIZE')).toBeGreaterThan(0);
  });

  test('a `clear` that is aborted in the tick of its call deletes nothing', async () => {
    await fill();
    const store = await open();
    const controller = new AbortController();
    const pending = store.clear({ signal: controller.signal });
    controller.abort(reason);
    await expect(pending).rejects.toBe(reason);
    await store.close();

    expect(await redis.command('DBSIZE')).toBe(COUNT);
  });

  test('`close` resolves after operations were aborted between pages', async () => {
    await fill();
    const store = await open(pages);
    const controllers = Array.from({ length: 20 }, () => new AbortController());
    const pending = controllers.flatMap(({ signal }) => [store.ids({ signal }), store.all({ signal })]);
    const settled = Promise.allSettled(pending);
    for (const controller of controllers) {
      await turn();
      controller.abort(reason);
    }
    await store.close();

    expect((await settled).map((result) => result.reason)).toEqual(pending.map(() => reason));
  });
});

test('a read that waits for an earlier save of its session is aborted, and sends nothing', async () => {
  const parse = jest.fn(JSON.parse);
  const store = await openStore('url', redis.port, {
    onConflict: 'reject',
    serializer: { parse, stringify: JSON.stringify },
    commandTimeout: NEVER_MS,
  });
  await store.set('1', liveSession('1'));
  const session = store.createSession({ sessionID: '1' }, await store.get('1'));
  const controller = new AbortController();
  parse.mockClear();
  redis.server.pause();
  const saved = store.set('1', session);
  const aborted = store.get('1', { signal: controller.signal });
  const read = store.get('1');
  await turn();
  controller.abort(reason);
  await expect(aborted).rejects.toBe(reason);
  redis.server.resume();

  expect(await saved).toBeNull();
  expect(await read).toMatchObject({ cookie: {} });
  expect(parse).toHaveBeenCalledTimes(1);
});

describe('the reason', () => {
  test('is passed to a callback in the next tick, in the async context of the call', async () => {
    const store = await openStore('url', redis.port, { commandTimeout: NEVER_MS });
    await store.length();
    const context = new AsyncLocalStorage();
    const controller = new AbortController();
    const order = [];
    redis.server.pause();
    const called = new Promise((resolve) => {
      context.run('the call', () =>
        store.get('1', { signal: controller.signal }, () => {
          order.push(context.getStore());
          resolve();
        }),
      );
    });
    context.run('the abort', () => controller.abort(reason));
    order.push('aborted');
    await called;
    redis.server.resume();

    expect(order).toEqual(['aborted', 'the call']);
  });

  test('of AbortSignal.timeout is its TimeoutError', async () => {
    const store = await openStore('url', redis.port, { commandTimeout: NEVER_MS });
    await store.length();
    redis.server.pause();
    const pending = store.get('1', { signal: AbortSignal.timeout(10) });
    await expect(pending).rejects.toMatchObject({ name: 'TimeoutError' });
    redis.server.resume();
  });

  test.each([[null], [0], [''], [false]])(
    '%p, which a callback would take for success, is an AbortError',
    async (falsy) => {
      const store = await openStore('url', redis.port);
      const signal = AbortSignal.abort(falsy);

      for (const call of Object.values(styles))
        await expect(call(store, 'get', '1', { signal })).rejects.toMatchObject({ name: 'AbortError' });
    },
  );

  test('is that of the signal for all operations that share it, with one listener', async () => {
    const store = await openStore('url', redis.port, { commandTimeout: NEVER_MS });
    await store.length();
    const controller = new AbortController();
    const { signal } = controller;
    redis.server.pause();
    const pending = Array.from({ length: 50 }, (_, n) => store.get(n, { signal }));
    const settled = Promise.allSettled(pending);
    expect(listeners(signal)).toBe(1);
    controller.abort(reason);
    expect((await settled).map((result) => result.reason)).toEqual(pending.map(() => reason));
    redis.server.resume();
    expect(listeners(signal)).toBe(0);
  });
});

describe('the forms of a call', () => {
  const other = () => new Promise(() => {});

  test.each(calls)(
    '`%s` accepts options without a signal, and undefined in place of either argument',
    async (method, args) => {
      const store = await openStore('url', redis.port);
      await store.set('1', liveSession('1'));
      const expected = method === 'clear' ? null : await store[method](...args);

      for (const options of [undefined, null, {}, { signal: undefined }, { signal: null }]) {
        if (method === 'clear') await store.set('1', liveSession('1'));
        expect(await store[method](...args, options)).toEqual(expected);
        expect(await store[method](...args, options, undefined)).toEqual(expected);
        expect(await styles.callback(store, method, ...args, options)).toEqual(expected);
      }
      // As in connect-redis, what follows the callback is ignored.
      const { called, callback } = recordCalls();
      store[method](...args, callback, 'ignored');
      expect(await called).toEqual([null, expected]);
    },
  );

  test('the promise of a call with options and a callback fulfils with what the callback returns', async () => {
    const store = await openStore('url', redis.port);
    const { signal } = new AbortController();

    expect(await store.length({ signal }, () => 'returned')).toBe('returned');
    expect(await store.get('1', { signal: AbortSignal.abort(reason) }, (error) => error)).toBe(reason);
  });

  test.each(calls)(
    '`%s` throws a TypeError for a value that is no signal, and for one that is no options',
    async (method, args) => {
      const store = await openStore('url', redis.port);
      const rejects = (message, ...more) =>
        expect(() => store[method](...args, ...more)).toThrow(
          expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE', message: expect.stringMatching(message) }),
        );

      for (const signal of ['now', 1, {}, new AbortController(), other])
        rejects(/^The "signal" option must be an AbortSignal; received/, { signal });
      for (const value of ['done', 7, true, [], other(), AbortSignal.abort(), new Map(), { sginal: 1 }])
        rejects(
          /^The callback must be a function, or an object of options such as \{ signal \}; received/,
          value,
        );
      const { signal } = new AbortController();
      rejects(/^The callback must be a function; received/, { signal }, 'done');
      expect(listeners(signal)).toBe(0);
    },
  );
});
