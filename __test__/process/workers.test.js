'use strict';

const path = require('node:path');
const { useRedis } = require('../support/redis.js');
const { endedWith, runNode } = require('../support/run.js');

const redis = useRedis();

const program = (name) => path.join(__dirname, 'programs', name);
const run = (...args) => runNode(program('in-workers.js'), redis.server.url, ...args);

describe.each([
  ['with a store in the main thread', 'own'],
  ['without one', 'none'],
])('worker threads %s', (_name, own) => {
  test.each([
    ['ends by itself when its store is idle', 'byItself', 'code 0'],
    ['calls process.exit() with operations under way', 'byExit', 'code 3'],
    ['has a callback that throws', 'byException', 'thrown by a callback'],
    ['is terminated with operations under way', 'notAtAll', 'code 1'],
    ['is terminated while its event loop is blocked', 'blocked', 'code 1'],
  ])('one that %s, 20 times over', async (_what, end, outcome) => {
    expect(await run(end, 20, 1, own)).toEqual(endedWith(outcome));
  });

  test('eight at once that work', async () => {
    expect(await run('afterWork', 8, 8, own)).toEqual(endedWith('code 0'));
  });

  test('eight at once that are terminated', async () => {
    expect(await run('notAtAll', 16, 8, own)).toEqual(endedWith('code 1'));
  });
});

test('the connections of workers that were terminated with an answer under way end', async () => {
  const { url, pid } = redis.server;
  expect(await runNode(program('busy-workers.js'), url, pid)).toEqual(endedWith('no connections'));
});
