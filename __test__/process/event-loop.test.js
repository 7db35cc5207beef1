'use strict';

const { useRedis } = require('../support/redis.js');
const { closeAll, openStore } = require('../support/stores.js');

const redis = useRedis();
afterEach(closeAll);

test('no result is lost when the event loop is blocked', async () => {
  const store = await openStore('url', redis.port);
  const answers = Promise.all(Array.from({ length: 1000 }, (_, i) => store.get(`abc${i}`)));
  // The operations have reached the addon by then.
  await new Promise(setImmediate);
  const end = Date.now() + 500;
  while (Date.now() < end);
  expect(await answers).toEqual(Array(1000).fill(null));
});

test('the event loop turns while 10,000 results are delivered', async () => {
  const store = await openStore('url', redis.port);
  await store.set('abc', { text: 'x'.repeat(2000) });
  let turns = 0;
  let turning = true;
  const turn = () => {
    turns += 1;
    if (turning) setImmediate(turn);
  };
  const turnsAtAnswers = await new Promise((resolve) => {
    const seen = new Set();
    let answered = 0;
    for (let i = 0; i < 10_000; i++)
      store.get('abc', () => {
        seen.add(turns);
        answered += 1;
        if (answered === 10_000) resolve(seen.size);
      });
    setImmediate(turn);
  });
  turning = false;

  expect(turnsAtAnswers).toBeGreaterThan(10);
});
