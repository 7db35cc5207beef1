'use strict';

const path = require('node:path');
const { useRedis } = require('../support/redis.js');
const { endedWith, runNode } = require('../support/run.js');

const redis = useRedis();

const program = (name) => path.join(__dirname, 'programs', name);
const run = (...args) => runNode(program('in-workers.js'), redis.server.url, ...args);

describe.each([
  ['with a store in the main thread', 'own'],
  ['without a store in the main thread', 'none'],
])('worker threads %s', (_name, own) => {
  test.each([
    ['ends by itself when its store is idle', 'whenIdle', 'code 0'],
    ['calls process.exit() with operations in flight', 'byExit', 'code 3'],
    ['has a callback that throws', 'byException', 'thrown by a callback'],
    ['is terminated with operations in flight', 'never', 'code 1'],
    ['is terminated while it logs users in and out', 'ofUsers', 'code 1'],
    ['is terminated while its event loop is blocked', 'blocked', 'code 1'],
  ])('a worker thread that %s leaves the process intact, 20 times', async (_what, end, outcome) => {
    expect(await run(end, 20, 1, own)).toEqual(endedWith(outcome));
  });

  test('eight concurrent worker threads use their stores', async () => {
    expect(await run('afterWork', 8, 8, own)).toEqual(endedWith('code 0'));
  });

  test('eight concurrent worker threads are terminated with operations in flight', async () => {
    expect(await run('never', 16, 8, own)).toEqual(endedWith('code 1'));
  });
});

test('the connections of workers that were terminated with a reply due are closed', async () => {
  const { url, pid } = redis.server;
  expect(await runNode(program('busy-workers.js'), url, pid)).toEqual(endedWith('no connections'));
});
