'use strict';

// Uses a store while the timers are those of a test runner, installed before or after the package is loaded. Time
// stands still, and Node's own clients would hang too, so the results are counted.

const [, , kind, when, url] = process.argv;

const install = {
  sinon: () => require('@sinonjs/fake-timers').install(),
  'sinon with nextTick': () =>
    require('@sinonjs/fake-timers').install({
      toFake: [
        ...['setTimeout', 'clearTimeout', 'setImmediate', 'clearImmediate', 'setInterval', 'clearInterval'],
        ...['Date', 'hrtime', 'nextTick', 'performance', 'queueMicrotask'],
      ],
    }),
  'node:test': () => require('node:test').mock.timers.enable(),
  'node:test, some': () =>
    require('node:test').mock.timers.enable(
      process.version.startsWith('v20.')
        ? { apis: ['setTimeout', 'setImmediate'] }
        : { apis: ['setTimeout', 'setImmediate', 'Date'] },
    ),
};

if (when === 'before') install[kind]();
const { RedisStore } = require('../../..');
if (when === 'after') install[kind]();

async function failure(promise) {
  try {
    await promise;
    return 'no failure';
  } catch (error) {
    return error.code;
  }
}

async function main() {
  const seen = [];
  const serializer = { parse: async (text) => JSON.parse(text), stringify: JSON.stringify };
  const onConflict = async (_base, theirs, mine) => ({ ...theirs, ...mine });
  const store = new RedisStore({ url });
  const careful = new RedisStore({
    url,
    serializer,
    onConflict,
    onUnavailable: 'sessionless',
  });
  const cached = new RedisStore({ url, cache: true, prefix: 'cached:' });

  await Promise.all(Array.from({ length: 3000 }, (_, n) => store.set(`id-${n}`, { cookie: {}, n })));
  seen.push((await store.all()).length, (await store.ids()).length, await store.length());
  let scanned = 0;
  for await (const { session } of store.scan()) scanned += session === null ? 0 : 1;
  seen.push(scanned);
  await new Promise((resolve) => store.get({}, resolve));
  await store.get('id-1', () => {});

  await careful.set('one', { cookie: {}, a: 1 });
  const loaded = await careful.get('one');
  await store.set('one', { cookie: {}, b: 2 });
  await careful.set('one', { ...loaded, c: 3 });
  seen.push(Object.keys(await careful.get('one')).join());
  const parse = () => new Promise(() => {});
  // Short, but long enough for Redis to answer on a busy machine.
  const hanging = new RedisStore({ url, serializer: { ...serializer, parse }, commandTimeout: 2000 });
  seen.push(...(await Promise.all([failure(hanging.get('one')), failure(hanging.all())])));

  await cached.set('abc', { cookie: {} });
  for (let n = 0; n < 500; n++) await cached.get('abc');

  await Promise.all([store.close(), careful.close(), hanging.close(), cached.close()]);
  seen.push(await failure(store.get('abc')));
  console.log(seen.join(' '));
}

main();
