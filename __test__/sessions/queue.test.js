'use strict';

const path = require('node:path');
const { RedisStore } = require('../..');
const { startProxy } = require('../support/proxy.js');
const { useRedis } = require('../support/redis.js');
const { runNode } = require('../support/run.js');
const { liveSession } = require('../support/sessions.js');
const { closeAll, keepStore, openStore } = require('../support/stores.js');
const { until } = require('../support/until.js');

const redis = useRedis();
afterEach(async () => {
  redis.server.resume();
  await closeAll();
});

test('operations queued behind a save are bounded by maxQueue and complete by their deadline without a connection', async () => {
  const { stdout } = await runNode(path.join(__dirname, 'programs', 'queued-saves.js'));
  const { answers, cpu } = JSON.parse(stdout);

  expect(answers.ERR_REDIS_QUEUE_FULL).toBe(50_000 - 20_001);
  expect(Object.keys(answers).sort()).toEqual([
    'ERR_REDIS_QUEUE_FULL',
    'ERR_REDIS_TIMEOUT',
    'ERR_REDIS_UNAVAILABLE',
  ]);
  // Completing them takes a fraction of a second of CPU time; if each visited all that wait, it would take minutes.
  expect(cpu).toBeLessThan(20_000);
});

test('maxQueue does not bound operations queued behind a save while Redis is connected', async () => {
  const store = await openStore('url', redis.port, { onConflict: 'merge', maxQueue: 0 });
  await until(() => store.status === 'ready');
  await store.set('abc', { n: -1 });
  const session = await store.get('abc');
  await Promise.all(Array.from({ length: 100 }, (_, n) => store.set('abc', Object.assign(session, { n }))));
  expect(await redis.stored('sess:abc')).toEqual({ n: 99 });
});

test('130,000 operations queued behind two saves all complete', async () => {
  const store = await openStore('url', redis.port, { onConflict: 'merge', commandTimeout: 60_000 });
  const session = liveSession('abc', { n: 0 });
  await store.set('abc', session);
  const saves = [store.set('abc', session), store.set('abc', session)];
  let answered = 0;
  const touched = new Promise((resolve, reject) => {
    for (let n = 0; n < 130_000; n++)
      store.touch('abc', session, (error) => {
        if (error) reject(error);
        else if (++answered === 130_000) resolve();
      });
  });
  await Promise.all([...saves, touched]);
  expect(answered).toBe(130_000);
});

test('queued operations keep their order when saves alternate with reads', async () => {
  const proxy = await startProxy(redis.port);
  const store = keepStore(new RedisStore({ url: proxy.url, onConflict: 'reject' }));
  const session = liveSession('abc', { n: 0 });
  await store.set('abc', session);
  const seen = [];
  const operations = [];
  for (let n = 1; n <= 50; n++) {
    operations.push(store.set('abc', Object.assign(session, { n })));
    operations.push(store.get('abc').then((stored) => seen.push(stored.n)));
  }
  await Promise.all(operations);
  expect(seen).toEqual(Array.from({ length: 50 }, (_, at) => at + 1));
  await store.close();
  await proxy.close();
});
