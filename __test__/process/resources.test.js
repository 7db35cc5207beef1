'use strict';

const path = require('node:path');
const { useRedis } = require('../support/redis.js');
const { endedWith, runNode } = require('../support/run.js');

const redis = useRedis();

const run = (name) => runNode('--expose-gc', path.join(__dirname, 'programs', name), redis.server.url);

// Only Linux lists the threads of a process.
(process.platform === 'linux' ? test : test.skip)('fifty stores are one thread', async () => {
  expect(await run('threads.js')).toEqual(endedWith('1 more with one store, 0 more with fifty'));
});

test('the memory of a large session is freed', async () => {
  expect(await run('large-session.js')).toEqual(endedWith('freed'));
});
