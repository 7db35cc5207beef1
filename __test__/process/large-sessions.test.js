'use strict';

const { useRedis } = require('../support/redis.js');
const { closeAll, openStore } = require('../support/stores.js');

// Slow work on one session does not delay others, whose connections share a thread.

const LIMIT_MS = 120_000;
/** The number of attempts, since other load on the machine may interfere. */
const ROUNDS = 10;

const redis = useRedis();
afterEach(closeAll);

test(
  'a `get` of a large session that is not ASCII does not delay reads of other sessions',
  async () => {
    await redis.command('SET', 'sess:large', `"${'é'.repeat(10_000_000)}"`);
    const serializer = { parse: (text) => ({ length: text.length }), stringify: JSON.stringify };
    const store = await openStore('url', redis.port, { serializer });
    // Redis answers in this order. On the connection thread, so would the store, each time.
    let first;
    for (let round = 0; round < ROUNDS && first !== 'small'; round++) {
      const order = [];
      const large = store.get('large').then(({ length }) => order.push(length));
      const small = store.get('nobody').then(() => order.push('small'));
      await Promise.all([large, small]);
      expect(order).toContain(10_000_002);
      [first] = order;
    }
    expect(first).toBe('small');
  },
  LIMIT_MS,
);

test(
  'results of operations on one session keep their order, however large it is',
  async () => {
    await redis.command('SET', 'sess:large', `"${'é'.repeat(1_000_000)}"`);
    const serializer = { parse: (text) => ({ length: text.length }), stringify: JSON.stringify };
    const store = await openStore('url', redis.port, { serializer });
    const order = [];
    await new Promise((resolve) => {
      store.get('large', () => order.push('get'));
      store.touch('large', { cookie: {} }, () => order.push('touch'));
      store.destroy('large', () => {
        order.push('destroy');
        resolve();
      });
    });
    expect(order).toEqual(['get', 'touch', 'destroy']);
  },
  LIMIT_MS,
);

test(
  '`all` returns large sessions complete and in order',
  async () => {
    for (let n = 0; n < 20; n++)
      await redis.command('SET', `sess:s${n}`, `{"n":${n},"text":"${'é'.repeat(n % 2 ? 200_000 : 10)}"}`);
    const store = await openStore('url', redis.port);
    const sessions = await store.all();
    expect(sessions.map(({ id, n }) => id === `s${n}`)).toEqual(Array(20).fill(true));
    expect(sessions.corrupt).toBe(0);
  },
  LIMIT_MS,
);
