'use strict';

const { RedisStore } = require('../..');
const { hit } = require('../support/hits.js');
const { startSentinel } = require('../support/sentinel.js');
const { closeAll, keepStore } = require('../support/stores.js');
const { HANG_MS, until } = require('../support/until.js');

const LIMIT_MS = 120_000;

let group;
afterEach(async () => {
  await closeAll();
  await group?.stop();
});

test(
  'a failover empties the cache, and sessions of the new primary are read and cached again',
  async () => {
    group = await startSentinel();
    const addresses = group.sentinels.map(({ port }) => `127.0.0.1:${port}`);
    const store = keepStore(
      new RedisStore({ sentinel: { name: group.name, addresses }, cache: true, commandTimeout: HANG_MS }),
    );
    await store.set('abc', { n: 1 });
    await store.get('abc');
    await until(() => hit(store, 'abc') === 1);

    await group.failOver();
    await group.command('SET', 'sess:abc', '{"n":2}');

    await until(async () => (await store.get('abc'))?.n === 2);
    await until(() => hit(store, 'abc') === 2);
    // The new primary reports changes, too.
    await group.command('SET', 'sess:abc', '{"n":3}');
    await until(async () => (await store.get('abc'))?.n === 3);
  },
  LIMIT_MS,
);
