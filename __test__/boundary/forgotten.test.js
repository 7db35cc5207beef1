'use strict';

const { useRedis } = require('../support/redis.js');
const { endedWith, runProgram } = require('./run-program.js');

const redis = useRedis();

test.each(['url', 'client'])('the connection of a forgotten store, opened by %s, ends', async (source) => {
  const args = [source, String(redis.port)];
  expect(await runProgram('forgotten.js', args, { flags: ['--expose-gc'] })).toEqual(
    endedWith('no connections'),
  );
});

test('the request in which the first store was made is kept by nothing', async () => {
  const args = [redis.server.url];
  expect(await runProgram('first-context.js', args, { flags: ['--expose-gc'] })).toEqual(
    endedWith('no contexts'),
  );
});

// Node would warn of a leak on the console if each store were one more listener of its client.
test('many stores on one client are nothing to be warned of', async () => {
  expect(await runProgram('many-stores.js', [redis.server.url])).toEqual(
    endedWith(Array.from({ length: 30 }, (_, n) => n).join()),
  );
});
