'use strict';

const { RedisStore } = require('../..');
const { closeAll, keepStore } = require('../support/stores.js');
const { failuresOfGetsInTicks } = require('../support/ticks.js');

// No server listens there.
const url = 'redis://127.0.0.1:1';

afterEach(closeAll);

describe.each([
  ['of different sessions', (n) => `session-${n}`],
  ['of one session, which share a read,', () => 'session'],
])('without a connection, operations %s', (_, idOf) => {
  test.each([0, 1, 3])(
    'with maxQueue %d, that many operations wait and the others reject at once',
    async (maxQueue) => {
      const store = keepStore(new RedisStore({ url, maxQueue, commandTimeout: 500 }));
      const answered = [];
      const gets = Array.from({ length: 5 }, (_, n) =>
        store.get(idOf(n)).catch(({ code, message }) => answered.push({ n, code, message })),
      );
      await Promise.all(gets);

      const full = answered.slice(0, 5 - maxQueue);
      expect(full.map(({ n }) => n).sort()).toEqual([0, 1, 2, 3, 4].slice(maxQueue));
      for (const { code, message } of full) {
        expect(code).toBe('ERR_REDIS_QUEUE_FULL');
        expect(message).toContain(`(${url};`);
        expect(message).toMatch(/no connection.*maxQueue.*attempts?; last error: /);
      }
      for (const { code } of answered.slice(5 - maxQueue)) expect(code).toBe('ERR_REDIS_UNAVAILABLE');
    },
  );

  test('maxQueue bounds the operations of successive ticks together', async () => {
    const store = keepStore(new RedisStore({ url, maxQueue: 20, commandTimeout: 500 }));
    expect(await failuresOfGetsInTicks(store, idOf)).toEqual({
      ERR_REDIS_QUEUE_FULL: 30,
      ERR_REDIS_UNAVAILABLE: 20,
    });
  });
});
