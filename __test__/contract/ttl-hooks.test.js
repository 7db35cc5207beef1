'use strict';

const { RedisStore } = require('../..');
const { useRedis } = require('../support/redis.js');
const { liveSession } = require('../support/sessions.js');
const { closeAll, keepStore } = require('../support/stores.js');

const redis = useRedis();
afterEach(closeAll);

const open = (Store, options) => keepStore(new Store({ url: redis.server.url, ...options }));

// connect-redis names it `_getTTL` up to version 8, `getTTL` since.
describe.each(['getTTL', '_getTTL'])('a subclass with %s', (name) => {
  class RoleStore extends RedisStore {
    [name](session) {
      return session.user === 'admin' ? this.adminTtl : super[name](session);
    }
    adminTtl = 60;
  }

  async function expectLifetime(ms) {
    const left = await redis.lifetime('sess:abc');
    expect(left).toBeLessThanOrEqual(ms);
    expect(left).toBeGreaterThan(ms - 30_000);
  }

  test('an overridden getTTL decides the lifetimes of `set` and `touch`', async () => {
    const store = open(RoleStore, { ttl: 6000 });
    await store.set('abc', { cookie: {}, user: 'admin' });
    await expectLifetime(60_000);
    await store.set('abc', { cookie: {}, user: 'ann' });
    await expectLifetime(6_000_000);
    await store.set('abc', liveSession('abc', { user: 'ann' }, { maxAge: 600_000 }));
    await expectLifetime(600_000);

    await store.touch('abc', liveSession('abc', { user: 'admin' }));
    await expectLifetime(60_000);
    expect(store.ttl).toBe(6000);
  });

  test('an overridden getTTL may return 0 to destroy a session', async () => {
    class EndingStore extends RedisStore {
      [name]() {
        return 0;
      }
    }
    await redis.command('SET', 'sess:abc', '{}');

    await open(EndingStore).set('abc', { cookie: {} });

    expect(await redis.keys()).toEqual([]);
  });

  test('getTTL may be assigned to a store in use', async () => {
    const store = open(RedisStore);
    await store.set('abc', { cookie: {} });
    store[name] = () => 60;

    await store.set('abc', { cookie: {} });

    await expectLifetime(60_000);
  });
});

test('`getTTL` returns seconds by the rules of connect-redis', () => {
  const store = open(RedisStore, { ttl: 60 });
  const { RedisStore: ConnectRedis10 } = require('connect-redis10');
  const theirs = new ConnectRedis10({ client: {}, ttl: 60 });

  for (const session of [{ cookie: {} }, undefined, liveSession('abc', {}, { maxAge: 600_000 })])
    expect(store.getTTL(session)).toBe(theirs.getTTL(session));
  store.ttl = theirs.ttl = ({ seconds }) => seconds;
  expect([store.getTTL({ seconds: 7 }), theirs.getTTL({ seconds: 7 })]).toEqual([7, 7]);
});
