'use strict';

const fs = require('node:fs');
const path = require('node:path');
const redis3 = require('redis3');
const { RedisStore } = require('../..');
const { useRedis } = require('../support/redis.js');
const { liveSession } = require('../support/sessions.js');
const { closeAll, keepStore } = require('../support/stores.js');

const redis = useRedis();
let former;
beforeEach(() => {
  former = redis3.createClient({ port: redis.port });
});
afterEach(async () => {
  await closeAll();
  await new Promise((resolve) => former.quit(resolve));
});

/** Runs the adapter of docs/migrating.md around `client`. */
function adapt(client) {
  const text = fs.readFileSync(path.join(__dirname, '..', '..', 'docs', 'migrating.md'), 'utf8');
  const [, code] = /```js fragment\n(const \{ promisify \}.*?)```/s.exec(text);
  const make = new Function('require', 'redis', 'RedisStore', `${code}; return store;`);
  return keepStore(make(require, client, RedisStore));
}

/** A wrapper like Overleaf's: an object whose own functions take arguments and a callback. */
const wrapper = () =>
  Object.fromEntries(
    ['get', 'set', 'expire', 'del', 'scan'].map((name) => [
      name,
      (args, callback) => former[name](args, callback),
    ]),
  );

test.each([
  ['a client of redis 3', () => former],
  ['a wrapper that has some methods', wrapper],
])('the adapter of docs/migrating.md makes a store work on %s', async (_what, make) => {
  const store = adapt(make());
  const session = liveSession('abc', { user: 'ann' }, { maxAge: 600_000 });

  await store.set('abc', session);
  expect(await store.get('abc')).toMatchObject({ user: 'ann' });
  expect(await redis.lifetime('sess:abc')).toBeGreaterThan(500_000);
  await redis.command('PEXPIRE', 'sess:abc', 9000);
  await store.touch('abc', session);
  expect(await redis.lifetime('sess:abc')).toBeGreaterThan(500_000);
  await store.set('def', session);
  expect((await store.ids()).sort()).toEqual(['abc', 'def']);
  expect((await store.all()).map(({ user }) => user)).toEqual(['ann', 'ann']);
  expect(await store.length()).toBe(2);
  await store.destroy('abc');
  expect(await redis.keys()).toEqual(['sess:def']);
  await store.clear();
  expect(await redis.keys()).toEqual([]);
});

test('a logout is final on a store that uses the adapter of docs/migrating.md', async () => {
  const store = adapt(wrapper());
  store.generate = () => {};
  await store.set('abc', liveSession('abc'));
  const live = store.createSession({ sessionID: 'abc' }, await store.get('abc'));

  await store.destroy('abc');
  await store.set('abc', live);

  expect(await redis.keys()).toEqual([]);
});
