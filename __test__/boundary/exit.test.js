'use strict';

const { useRedis } = require('../support/redis.js');
const { endedWith, runProgram } = require('./run-program.js');

const redis = useRedis();

test('an exit code that the app has set is that of the process', async () => {
  expect(await runProgram('exit-code.js', [redis.server.url])).toEqual({ ...endedWith('answered'), code: 5 });
});

test("operations issued in 'beforeExit' are answered", async () => {
  expect(await runProgram('before-exit.js', [redis.server.url])).toEqual(endedWith('answered answered'));
});

// Node gives asynchronous work no more time then.
test("operations issued in 'exit' do no harm", async () => {
  expect(await runProgram('in-exit.js', [redis.server.url])).toEqual(endedWith('exiting'));
});

test('process.exit() in a callback, with others of its batch to come', async () => {
  for (let time = 0; time < 20; time++)
    expect(await runProgram('exit-in-callback.js', [redis.server.url])).toEqual({
      ...endedWith('4 of 300'),
      code: 7,
    });
});
