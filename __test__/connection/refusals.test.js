'use strict';

const { useRedis } = require('../support/redis.js');
const { closeAll, openStore } = require('../support/stores.js');

// Redis quotes the arguments of a command that it does not know, and cuts them off after so many bytes.
const redis = useRedis({ args: ['--rename-command', 'PTTL', ''] });
afterEach(closeAll);

test.each(['', 'x', 'xx'])('a refusal that ends in the midst of a character is one (%j)', async (before) => {
  const store = await openStore('url', redis.port);
  let lost = 0;
  store.on('reconnecting', () => {
    lost += 1;
  });
  const id = before + '€'.repeat(100);
  await store.set(id, { n: 1 });
  expect(await store.get(id)).toEqual({ n: 1 });
  expect(lost).toBe(0);
});
