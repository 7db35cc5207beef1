'use strict';

const { RedisStore } = require('../..');
const { freePort } = require('../../scripts/redis.js');
const { closeAll, keepStore } = require('../support/stores.js');

afterEach(closeAll);

test.each([0, 1, 3])(
  'without a connection, maxQueue: %d operations wait and the others fail at once',
  async (maxQueue) => {
    const url = `redis://127.0.0.1:${await freePort()}`;
    const store = keepStore(new RedisStore({ url, maxQueue, commandTimeout: 500 }));
    const answered = [];
    const gets = Array.from({ length: 5 }, (_, n) =>
      store.get(`session-${n}`).catch(({ code, message }) => answered.push({ n, code, message })),
    );
    await Promise.all(gets);

    const full = answered.slice(0, 5 - maxQueue);
    expect(full.map(({ n }) => n).sort()).toEqual([0, 1, 2, 3, 4].slice(maxQueue));
    for (const { code, message } of full) {
      expect(code).toBe('ERR_REDIS_QUEUE_FULL');
      expect(message).toContain(`no connection to ${url}`);
      expect(message).toMatch(/maxQueue.*attempts?; the last: /);
    }
    for (const { code } of answered.slice(5 - maxQueue)) expect(code).toBe('ERR_REDIS_UNAVAILABLE');
  },
);
