'use strict';

const { useRedis } = require('../support/redis.js');
const { closeAll, openStore } = require('../support/stores.js');

// Redis quotes the arguments of a command that it does not know, and cuts them off after some bytes.
const redis = useRedis({ args: ['--rename-command', 'PTTL', ''] });
afterEach(closeAll);

test.each(['', 'x', 'xx'])(
  'an error reply that ends within a character does not end the connection (%j)',
  async (before) => {
    const store = await openStore('url', redis.port);
    let lost = 0;
    store.on('reconnecting', () => {
      lost += 1;
    });
    const id = before + '€'.repeat(100);
    await store.set(id, { n: 1 });
    expect(await store.get(id)).toEqual({ n: 1 });
    expect(lost).toBe(0);
  },
);
