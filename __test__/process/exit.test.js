'use strict';

const path = require('node:path');
const { useRedis } = require('../support/redis.js');
const { endedWith, runNode } = require('../support/run.js');

const redis = useRedis();

const ROOT = path.join(__dirname, '..', '..');
const program = (name) => path.join(__dirname, 'programs', name);

/** Runs a source text with the class and two stores that share a connection in scope. */
const runSource = (source) =>
  runNode(
    '-e',
    `const { RedisStore } = require(${JSON.stringify(ROOT)});
    const url = ${JSON.stringify(redis.server.url)};
    const stores = [new RedisStore({ url, onUnavailable: 'sessionless' }), new RedisStore({ url })];
    (async () => { ${source} })();`,
  );

describe('end of a process', () => {
  test.each([
    ['its stores were never used', ''],
    [
      'its stores are idle, with their connection open',
      `await Promise.all(stores.map((store) => store.get('abc')));`,
    ],
    [
      'its stores are closed',
      `await stores[0].get('abc'); await Promise.all(stores.map((store) => store.close()));`,
    ],
    [
      'there are listeners',
      `for (const event of ['ready', 'error', 'disconnect']) stores[0].on(event, () => {});`,
    ],
    [
      'a store has no Redis',
      // No server listens on port 1 of the loopback interface.
      `new RedisStore({ url: 'redis://127.0.0.1:1', onUnavailable: 'sessionless' }).on('error', () => {});`,
    ],
  ])('a process ends by itself when %s', async (_when, source) => {
    expect(await runSource(source)).toEqual(endedWith(''));
  });

  test('a process ends after the results of its operations', async () => {
    expect(await runSource("stores[0].get('abc', () => console.log('got'));")).toEqual(endedWith('got'));
  });

  test('a process ends after the errors of its operations when Redis is unreachable', async () => {
    const source = `const store = new RedisStore({ url: 'redis://127.0.0.1:1' }).on('error', () => {});
      store.get('abc', ({ code }) => console.log(code));`;
    expect(await runSource(source)).toEqual(endedWith('ERR_REDIS_UNAVAILABLE'));
  });

  test('a process ends after a top-level await in an ES module', async () => {
    const source = `import { RedisStore } from ${JSON.stringify(path.join(ROOT, 'index.mjs'))};
      console.log(await new RedisStore({ url: '${redis.server.url}' }).get('abc'));`;
    expect(await runNode('--input-type=module', '-e', source)).toEqual(endedWith('null'));
  });
});

test('an exit code that the app has set is that of the process', async () => {
  expect(await runNode(program('exit-code.js'), redis.server.url)).toEqual({
    ...endedWith('answered'),
    code: 5,
  });
});

test("operations called in 'beforeExit' complete", async () => {
  expect(await runNode(program('before-exit.js'), redis.server.url)).toEqual(endedWith('answered answered'));
});

// Node runs no more asynchronous work then.
test("operations called in 'exit' neither crash nor complete", async () => {
  expect(await runNode(program('in-exit.js'), redis.server.url)).toEqual(endedWith('exiting'));
});

test('process.exit() works in a callback while others of its batch are pending', async () => {
  for (let time = 0; time < 20; time++)
    expect(await runNode(program('exit-in-callback.js'), redis.server.url)).toEqual({
      ...endedWith('4 of 300'),
      code: 7,
    });
});

test('process.exit() works in a callback while a scan is in flight', async () => {
  const source = `
    let answered = 0;
    for (let i = 0; i < 2000; i++) stores[0].get('abc' + i, () => { if (++answered === 500) process.exit(7); });
    stores[0].all(() => {});`;
  for (let time = 0; time < 10; time++)
    expect(await runSource(source)).toEqual({ ...endedWith(''), code: 7 });
});
