'use strict';

const path = require('node:path');
const { useRedis } = require('../support/redis.js');
const { endedWith, runNode } = require('../support/run.js');

const redis = useRedis();

const run = (name, ...args) => runNode('--expose-gc', path.join(__dirname, 'programs', name), ...args);

test.each(['url', 'client'])(
  'the connection of a garbage-collected store, opened by %s, is closed',
  async (source) => {
    expect(await run('unreferenced-stores.js', source, redis.port)).toEqual(endedWith('no connections'));
  },
);

test('a garbage-collected store completes its pending operations', async () => {
  expect(await run('unreferenced-in-flight.js', redis.server.url)).toEqual(endedWith('answered'));
});

test('the async context in which the first store was created is garbage-collected', async () => {
  expect(await run('first-context.js', redis.server.url)).toEqual(endedWith('no contexts'));
});

// In Jest, what remains is also referenced by the realm of a test file, and references it: it would never be collected.
test('a closed store leaves no handles open', async () => {
  expect(await run('closed.js', redis.server.url)).toEqual(endedWith('nothing open closed,closed'));
});

test('unfinished scans are garbage-collected', async () => {
  expect(await run('abandoned-scans.js', redis.server.url)).toEqual(endedWith('3 scans gone'));
});

// Node would warn of a leak on the console if each store were one more listener of its client.
test('many stores on one client cause no warning', async () => {
  expect(await run('many-stores.js', redis.server.url)).toEqual(
    endedWith(Array.from({ length: 30 }, (_, n) => n).join()),
  );
});
