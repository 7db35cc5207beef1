'use strict';

const { useRedis } = require('../support/redis.js');
const { closeAll, familySources, openStore } = require('../support/stores.js');
const { AMPLE_MS, patient } = require('./limits.js');
const { underTraffic } = require('./traffic.js');

const redis = useRedis({ args: ['--maxmemory-policy', 'noeviction'] });
afterEach(closeAll);

const limit = (bytes) => redis.command('CONFIG', 'SET', 'maxmemory', bytes);

describe.each(familySources)('a server whose memory is full, by %s', (source) => {
  test('writes reject with OOM at once when the memory is full, reads and destroys succeed', async () => {
    const store = await openStore(source, redis.port, patient);
    const { failed } = await underTraffic(store, { deadline: AMPLE_MS }, async (traffic) => {
      await store.set('kept', { n: 1 });
      await limit(1);
      try {
        await traffic.fails('OOM');
        const error = await store.set('other', { n: 1 }).catch((reason) => reason);
        expect(error).toMatchObject({ code: 'ERR_REDIS_REPLY', reply: 'OOM' });
        expect(error.message).toMatch(/^set failed: .*OOM.*maxmemory/);
        expect(await store.get('kept')).toEqual({ n: 1 });
        expect(await store.touch('kept', { n: 1 })).not.toBeInstanceOf(Error);
        await store.destroy('kept');
        expect(await store.get('kept')).toBeNull();
      } finally {
        await limit(0);
      }
    });
    expect(Object.keys(failed)).toEqual(['OOM']);
  });
});
