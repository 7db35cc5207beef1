'use strict';

const { RedisStore: ConnectRedis10 } = require('connect-redis10');
const { useRedis } = require('../support/redis.js');
const { runNode } = require('../support/run.js');
const { liveSession } = require('../support/sessions.js');
const { closeAll, openClient, openStore } = require('../support/stores.js');

const redis = useRedis();
afterEach(closeAll);

const session = liveSession('abc', { user: 'ann' });
const calls = [
  ['get', ['abc']],
  ['set', ['abc', session]],
  ['touch', ['abc', session]],
  ['destroy', ['abc']],
  ['all', []],
  ['ids', []],
  ['length', []],
  ['clear', []],
];

const open = {
  'connect-redis-native': (options) => openStore('url', redis.port, options),
  'connect-redis-native with a cache': (options) => openStore('url', redis.port, { cache: true, ...options }),
  'connect-redis 10': async (options) =>
    new ConnectRedis10({ client: await openClient('redis6', redis.port), ...options }),
};

describe.each(Object.entries(open))('%s: a call that has a callback', (_name, openOne) => {
  test.each(calls)('the promise of %s resolves with what the callback returns', async (method, args) => {
    const store = await openOne();
    const order = [];

    const result = await store[method](...args, (error) => {
      order.push(error);
      return 'returned by the callback';
    });

    expect(order).toEqual([null]);
    expect(result).toBe('returned by the callback');
  });

  test.each(calls)('the promise of %s waits for an asynchronous callback', async (method, args) => {
    const store = await openOne();
    let isDone = false;

    await store[method](...args, async () => {
      await store.length();
      isDone = true;
    });

    expect(isDone).toBe(true);
  });

  test.each(calls.slice(0, 2))(
    'the promise of %s is fulfilled although the operation fails',
    async (method, args) => {
      const store = await openOne({ serializer: { parse: fail, stringify: fail } });
      await redis.command('SET', 'sess:abc', '{"cookie":{}}');

      const outcome = await store[method](...args, (error) => `failed: ${error.message}`);

      expect(outcome).toBe('failed: refused');
    },
  );
});

function fail() {
  throw new Error('refused');
}

describe('the promise of a call with a callback', () => {
  test('the promise of a call with a callback works with Promise.resolve, Promise.all, then, catch, finally and instanceof', async () => {
    const store = await openStore('url', redis.port);
    const call = () => store.get('abc', () => 1);

    expect(call()).toBeInstanceOf(Promise);
    expect(Object.prototype.toString.call(call())).toBe('[object Promise]');
    expect(await Promise.all([call(), call()])).toEqual([1, 1]);
    expect(await Promise.resolve(call())).toBe(1);
    expect(await call().then((value) => value + 1)).toBe(2);
    expect(await call().catch(() => 3)).toBe(1);
    let isOver = false;
    const last = call().finally(() => {
      isOver = true;
    });
    expect(await last).toBe(1);
    expect(isOver).toBe(true);
  });

  test('the promise of a call with a callback can be awaited long after the callback was called, and repeatedly', async () => {
    const store = await openStore('url', redis.port);
    let promise;
    await new Promise((resolve) => {
      promise = store.get('abc', () => {
        resolve();
        return 'kept';
      });
    });

    expect([await promise, await promise]).toEqual(['kept', 'kept']);
  });

  test('the promise of a call with a callback can be awaited when the call completes at once', async () => {
    const store = await openStore('url', redis.port, { disableTouch: true });

    expect(await store.get({}, ({ code }) => code)).toBe('ERR_INVALID_ARG_TYPE');
    expect(await store.touch('abc', session, () => 'at once')).toBe('at once');
    await store.close();
    for (const [method, args] of calls)
      if (method !== 'touch')
        expect(await store[method](...args, ({ code }) => code)).toBe('ERR_STORE_CLOSED');
  });

  test('the promise of a call with a callback keeps the async context of the caller', async () => {
    const { AsyncLocalStorage } = require('node:async_hooks');
    const context = new AsyncLocalStorage();
    const store = await openStore('url', redis.port);

    const seen = await context.run('request', async () => {
      await store.get('abc', () => {});
      return context.getStore();
    });

    expect(seen).toBe('request');
  });
});

test('a failed call with a callback causes no unhandled rejection, awaited or not', async () => {
  const program = `
    const { RedisStore } = require('.');
    const store = new RedisStore({ url: '${redis.server.url}' });
    let count = 0;
    const failed = (error) => { if (error) count++; };
    store.get({}, failed);
    store.destroy(Symbol('id'), failed);
    (async () => {
      await store.get({}, failed);
      await store.close();
      store.clear(failed);
      await store.length(failed);
      store.get('abc', failed).then(() => console.log(count));
    })();
  `;

  expect(await runNode('-e', program)).toEqual({ code: 0, signal: null, stdout: '6', stderr: '' });
});

test('the promise of a call settles when its callback throws', async () => {
  const program = `
    process.on('uncaughtException', ({ message }) => console.log(message));
    const { RedisStore } = require('.');
    const store = new RedisStore({ url: '${redis.server.url}' });
    (async () => {
      const result = await store.get('abc', () => { throw new Error('thrown'); });
      console.log(result);
      await store.close();
    })();
  `;

  expect(await runNode('-e', program)).toEqual({
    code: 0,
    signal: null,
    stdout: 'thrown\nundefined',
    stderr: '',
  });
});

test.each([
  ['a read from Redis', '{}'],
  ['a read from the cache', '{ cache: true }'],
])('%s rejects for the awaiting caller alone when its asynchronous callback does', async (_name, options) => {
  const program = `
    const { RedisStore } = require('.');
    const store = new RedisStore({ url: '${redis.server.url}', ...${options} });
    const refuse = async () => { throw new Error('refused'); };
    (async () => {
      await store.set('abc', { cookie: {} });
      await store.get('abc');
      for (const settle of [() => store.get('abc', refuse), () => store.destroy('abc', refuse)]) {
        await settle().catch(({ message }) => console.log(message));
        await settle().then(null, ({ message }) => console.log(message));
        await Promise.all([settle()]).catch(({ message }) => console.log(message));
      }
      await store.close();
    })();
  `;

  const stdout = Array(6).fill('refused').join('\n');
  expect(await runNode('-e', program)).toEqual({ code: 0, signal: null, stdout, stderr: '' });
});
