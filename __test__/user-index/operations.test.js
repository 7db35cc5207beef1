'use strict';

const { useRedis } = require('../support/redis.js');
const { describeServers } = require('../support/servers.js');
const { liveSession } = require('../support/sessions.js');
const { closeAll, openStore } = require('../support/stores.js');
const { until } = require('../support/until.js');
const { age, collect, endOf, indexKey, load, logIn, numbersOf, userId } = require('./support.js');

afterEach(closeAll);

/** The transports: a native connection, and commands on the app's client. */
const transports = [
  ['native', 'url', {}],
  ['client', 'redis6', { transport: 'client' }],
  ['client (ioredis)', 'ioredis6', { transport: 'client' }],
];

describeServers('%s', (name, program) => {
  const redis = useRedis({ program });
  const hasFieldExpiry = ['Redis 8.2', 'Valkey 9'].includes(name);

  describe.each(transports)('by the transport %s', (_transport, source, transport) => {
    const open = (options = {}) => openStore(source, redis.port, { userId, ...transport, ...options });

    test('`sessionsOf` yields the live sessions of a user, with handles in place of ids', async () => {
      const store = await open();
      await logIn(store, 'a', 42, { n: 1 });
      await logIn(store, 'b', '42', { n: 2 });
      await logIn(store, 'c', 7, { n: 3 });
      await store.set('d', liveSession('d', { n: 4 }));

      const found = await collect(store.sessionsOf(42));
      expect(found.map(({ session }) => session.n).sort()).toEqual([1, 2]);
      for (const { handle, createdAt, lastSeenAt, expiresAt, ttl, ...rest } of found) {
        expect(handle).toMatch(/^[\w-]{22}$/);
        expect(Math.abs(createdAt - Date.now())).toBeLessThan(60_000);
        expect(Math.abs(lastSeenAt - Date.now())).toBeLessThan(60_000);
        expect(expiresAt - lastSeenAt).toBe(3_600_000);
        expect(ttl).toBeGreaterThan(3000);
        expect(JSON.stringify({ handle, ...rest })).not.toMatch(/"[abcd]"/);
      }
      expect(await store.countOf('42')).toBe(2);
      expect(await store.countOf('nobody')).toBe(0);
    });

    test('`ids`, `length` and `clear` do not see indexes', async () => {
      const store = await open();
      await logIn(store, 'a', 1);
      expect(await store.ids()).toEqual(['a']);
      expect(await store.length()).toBe(1);
      await store.clear();
      expect(await redis.keys()).toEqual(['sess-of:user:1@sess:']);
      expect(await store.countOf(1)).toBe(0);
    });

    test('`destroyAllOf` destroys all sessions of a user but the excepted, and requests in progress are discarded', async () => {
      const store = await open();
      const other = await open();
      for (const sid of ['a', 'b', 'c']) await logIn(store, sid, 1);
      await logIn(store, 'd', 2);
      const inProgress = await load(other, 'b');

      expect(await store.destroyAllOf(1, { except: 'a' })).toBe(2);

      inProgress.changed = true;
      expect(await other.set('b', inProgress)).toBe('discarded');
      expect((await store.ids()).sort()).toEqual(['a', 'd']);
      expect(await store.countOf(1)).toBe(1);
      expect(await other.destroyAllOf(1)).toBe(1);
      expect(await store.destroyAllOf(1)).toBe(0);
      expect(await store.ids()).toEqual(['d']);
    });

    test('`destroyByHandle` destroys the session of its own user only', async () => {
      const store = await open();
      await logIn(store, 'a', 1);
      await logIn(store, 'b', 2);
      const [{ handle }] = await collect(store.sessionsOf(1));

      expect(await store.destroyByHandle(2, handle)).toBe(false);
      expect(await store.destroyByHandle(1, 'a')).toBe(false);
      expect(await store.destroyByHandle(1, handle)).toBe(true);
      expect(await store.destroyByHandle(1, handle)).toBe(false);
      expect(await store.ids()).toEqual(['b']);
    });

    test('`updateAllOf` changes each session by compare-and-set, and keeps lifetimes', async () => {
      const store = await open();
      for (const sid of ['a', 'b']) await logIn(store, sid, 1, { sid, n: 0 });
      const seen = new Set();

      const changed = await store.updateAllOf(1, async (session) => {
        const { sid } = session;
        if (!seen.has(sid)) {
          seen.add(sid);
          const current = await load(store, sid);
          current.other = true;
          await store.set(sid, current);
        }
        session.roles = ['admin'];
      });

      expect(changed).toBe(2);
      for (const sid of ['a', 'b']) {
        expect(await redis.stored(`sess:${sid}`)).toMatchObject({ n: 0, other: true, roles: ['admin'] });
        expect(await redis.lifetime(`sess:${sid}`)).toBeGreaterThan(3_500_000);
      }
      expect(await store.updateAllOf(1, () => false)).toBe(0);
    });

    test('`reindex` adds sessions that were stored without an index', async () => {
      const plain = await openStore(source, redis.port, transport);
      for (let n = 0; n < 300; n++) await logIn(plain, `s${n}`, n % 3, { n });
      await plain.set('anonymous', liveSession('anonymous'));
      const store = await open();
      expect(await store.countOf(1)).toBe(0);

      expect(await store.reindex()).toBe(300);

      expect(await store.countOf(1)).toBe(100);
      expect(await store.destroyAllOf(1)).toBe(100);
      expect(await store.countOf(2)).toBe(100);
    });

    test('`reindex` prolongs an entry that ends before its session', async () => {
      const store = await open();
      await logIn(store, 'a', 1, { n: 1 }, 1000);
      const key = indexKey(1);
      const before = endOf(await redis.command('HGET', key, 'a'));
      await redis.command('PEXPIRE', 'sess:a', '3600000');

      expect(await store.reindex()).toBe(1);

      expect(endOf(await redis.command('HGET', key, 'a')) - before).toBeGreaterThan(3_600_000);
      expect(await store.countOf(1)).toBe(1);
    });

    test('a user change moves the session to the other index, and a session without a user is in none', async () => {
      const store = await open();
      await store.set('a', liveSession('a', { n: 1 }));
      const session = await load(store, 'a');
      session.userId = 1;
      await store.set('a', session);
      expect(await numbersOf(store, 1)).toEqual([1]);
      session.userId = 2;
      await store.set('a', session);
      expect([await store.countOf(1), await store.countOf(2)]).toEqual([0, 1]);
      expect(await store.destroyAllOf(1)).toBe(0);
      session.userId = undefined;
      await store.set('a', session);
      expect(await store.countOf(2)).toBe(0);
      expect(await store.ids()).toEqual(['a']);
    });

    test('an index does not outlive its sessions', async () => {
      const store = await open({ commandTimeout: 2000 });
      await logIn(store, 'a', 1, {}, 300);
      await logIn(store, 'b', 2, {}, 300);
      await logIn(store, 'b2', 2);
      // A logout leaves a marked entry for a minute, as the save may still be sent again.
      await logIn(store, 'c', 3);
      await store.destroy('c');
      await until(async () =>
        String(await redis.command('HGET', 'sess-of:user:3@sess:', 'c')).endsWith(' evicted'),
      );
      expect(await store.countOf(3)).toBe(0);
      // After that minute, it leaves none.
      await logIn(store, 'd', 4);
      await age(redis, 'sess-of:user:4@sess:', 'd');
      await store.destroy('d');
      await until(async () => !(await redis.keys()).includes('sess-of:user:4@sess:'));
      // Twice the lifetime and two timeouts later.
      await until(async () => !(await redis.keys()).includes('sess-of:user:1@sess:'));
      if (hasFieldExpiry)
        await until(async () => (await redis.command('HLEN', 'sess-of:user:2@sess:')) === 1);
      expect(await store.countOf(2)).toBe(1);
    });

    test('touches prolong the entry as long as the session lives', async () => {
      const store = await open();
      await logIn(store, 'a', 1, {}, 1500);
      const began = Date.now();
      while (Date.now() - began < 4000) {
        const session = await load(store, 'a');
        session.cookie.maxAge = 1500;
        await store.touch('a', session);
        expect(await store.countOf(1)).toBe(1);
      }
    });
  });
});
