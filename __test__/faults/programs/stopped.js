'use strict';

// Sends operations whose replies are delayed, is stopped meanwhile by its parent, and reports how they ended.

const { RedisStore } = require('../../..');

const COUNT = 50;

(async () => {
  const store = new RedisStore(JSON.parse(process.argv[2]));
  await store.set('abc', { n: 1 });
  const events = [];
  store.on('reconnecting', () => events.push('reconnecting'));
  store.on('error', (error) => events.push(error.message));
  process.once('message', async () => {
    const gets = Array.from({ length: COUNT }, () => store.get('abc'));
    const sets = Array.from({ length: COUNT }, (_, n) => store.set(`other-${n}`, { n }));
    setImmediate(() => process.send('sent'));
    const results = await Promise.allSettled([...gets, ...sets]);
    const failed = results.filter(({ status }) => status === 'rejected').map(({ reason }) => reason.message);
    process.send({ failed: [...new Set(failed)], events });
    await store.close();
    process.disconnect();
  });
  process.send('ready');
})();
