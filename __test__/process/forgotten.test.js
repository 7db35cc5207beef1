'use strict';

const path = require('node:path');
const { useRedis } = require('../support/redis.js');
const { endedWith, runNode } = require('../support/run.js');

const redis = useRedis();

const run = (name, ...args) => runNode('--expose-gc', path.join(__dirname, 'programs', name), ...args);

test.each(['url', 'client'])('the connection of a forgotten store, opened by %s, ends', async (source) => {
  expect(await run('forgotten.js', source, redis.port)).toEqual(endedWith('no connections'));
});

test('a forgotten store answers what is under way', async () => {
  expect(await run('forgotten-under-way.js', redis.server.url)).toEqual(endedWith('answered'));
});

test('the request in which the first store was made is kept by nothing', async () => {
  expect(await run('first-context.js', redis.server.url)).toEqual(endedWith('no contexts'));
});

// What is left is held as well by the realm of a test runner's file, and holds it: nothing of it would ever end.
test('of a closed store, nothing is left open', async () => {
  expect(await run('closed.js', redis.server.url)).toEqual(endedWith('nothing open closed,closed'));
});

test('of walks that are forgotten half-way, nothing is kept', async () => {
  expect(await run('abandoned-scans.js', redis.server.url)).toEqual(endedWith('3 walks gone'));
});

// Node would warn of a leak on the console if each store were one more listener of its client.
test('many stores on one client are nothing to be warned of', async () => {
  expect(await run('many-stores.js', redis.server.url)).toEqual(
    endedWith(Array.from({ length: 30 }, (_, n) => n).join()),
  );
});
