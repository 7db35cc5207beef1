'use strict';

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');
const { useRedis } = require('../support/redis.js');
const { closeAll, openStore } = require('../support/stores.js');

const redis = useRedis();
afterEach(closeAll);

const FACE = path.join(__dirname, '..', '..');

/** Runs a program, in which `store` is open, in a process of its own, to its end. */
async function run(program, { url = redis.server.url, flags = [], module = false } = {}) {
  const face = module
    ? `import { RedisStore } from ${JSON.stringify(path.join(FACE, 'index.mjs'))};`
    : `const { RedisStore } = require(${JSON.stringify(FACE)});`;
  const source = `${face} const store = new RedisStore({ url: ${JSON.stringify(url)} }); ${program}`;
  const child = spawn(
    process.execPath,
    [...flags, ...(module ? ['--input-type=module'] : []), '-e', source],
    { timeout: 25_000, killSignal: 'SIGKILL' },
  );
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
  const [code, signal] = await once(child, 'close');
  return { code, signal, output: output.trim() };
}

const ended = { code: 0, signal: null };

describe('a process ends by itself', () => {
  test('when its store was never used', async () => {
    expect(await run('')).toEqual({ ...ended, output: '' });
  });

  test('when its store is idle, with its connection open', async () => {
    expect(await run("store.get('abc', () => console.log('got'))")).toEqual({ ...ended, output: 'got' });
  });

  test('after an await at the top of an ES module, not before', async () => {
    const program = "console.log(await store.get('abc'))";
    expect(await run(program, { module: true })).toEqual({ ...ended, output: 'null' });
  });

  test('when there is no Redis, after the errors', async () => {
    const program = "store.get('abc', (error) => console.log(error.code))";
    // Nobody listens on port 1 of the loopback interface.
    expect(await run(program, { url: 'redis://127.0.0.1:1' })).toEqual({
      ...ended,
      output: 'ERR_REDIS_UNAVAILABLE',
    });
  });
});

test('process.exit() with operations under way gives its code', async () => {
  const program = `
    let answered = 0;
    for (let i = 0; i < 2000; i++) store.get('abc' + i, () => { if (++answered === 500) process.exit(7); });
    store.all(() => {});`;
  for (let time = 0; time < 10; time++)
    expect(await run(program)).toEqual({ code: 7, signal: null, output: '' });
});

test('a store that was forgotten answers what is under way', async () => {
  const program = `
    (() => {
      const forgotten = new RedisStore({ url: '${redis.server.url}', prefix: 'f:' });
      for (let i = 0; i < 100; i++) forgotten.get('abc' + i, () => { if (i === 99) console.log('answered'); });
    })();
    gc(); setImmediate(gc);`;
  expect(await run(program, { flags: ['--expose-gc'] })).toEqual({ ...ended, output: 'answered' });
});

test('threads do not grow with the number of stores', async () => {
  if (process.platform !== 'linux') return;
  const program = `
    const { readdirSync } = require('fs');
    const threads = () => readdirSync('/proc/self/task').length;
    (async () => {
      await store.get('abc');
      const before = threads();
      const stores = Array.from({ length: 50 }, () => new RedisStore({ url: '${redis.server.url}' }));
      await Promise.all(stores.map((one) => one.get('abc')));
      console.log(threads() - before);
    })();`;
  expect(await run(program)).toEqual({ ...ended, output: '0' });
});

test('the room that a large session took is given back', async () => {
  const program = `
    const large = new RedisStore({
      url: '${redis.server.url}', commandTimeout: 20000,
      serializer: { stringify: ({ text }) => text, parse: (text) => ({ length: text.length }) },
    });
    (async () => {
      const taken = () => { gc(); return process.memoryUsage.rss() / 1e6; };
      await large.get('abc');
      const before = taken();
      await large.set('abc', { text: 'x'.repeat(100e6) });
      if ((await large.get('abc')).length !== 100e6) throw new Error('another session');
      for (let tries = 0; tries < 100 && taken() > before + 50; tries++) await large.get('nobody');
      console.log(taken() < before + 50 ? 'given back' : taken() - before);
    })();`;
  expect(await run(program, { flags: ['--expose-gc'] })).toEqual({ ...ended, output: 'given back' });
});

test('an event loop that is blocked loses no answer', async () => {
  const program = `
    let answered = 0;
    for (let i = 0; i < 1000; i++) store.get('abc' + i, () => { if (++answered === 1000) console.log('all'); });
    setImmediate(() => { const until = Date.now() + 500; while (Date.now() < until); });`;
  expect(await run(program)).toEqual({ ...ended, output: 'all' });
});

test('the event loop turns while ten thousand answers are given out', async () => {
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

describe('worker threads', () => {
  const worker = (body) => `
    const { Worker } = require('worker_threads');
    const code = ${JSON.stringify(`const { RedisStore } = require(${JSON.stringify(FACE)}); const { parentPort } = require('worker_threads');`)} + ${JSON.stringify(body)};
    const start = () => new Worker(code, { eval: true });
    const message = (one) => new Promise((resolve, reject) => { one.once('message', resolve); one.once('error', reject); });`;

  test('each have stores of their own', async () => {
    const body = `const store = new RedisStore({ url: '${redis.server.url}' });
      store.set('abc', { a: 1 }, () => store.get('abc', (error, session) => parentPort.postMessage(session.a)));`;
    const program = `${worker(body)}
      (async () => console.log((await Promise.all([1, 2, 3, 4].map(() => message(start())))).join()))();`;
    expect(await run(program)).toEqual({ ...ended, output: '1,1,1,1' });
  });

  test('may be terminated with operations under way; the main thread goes on', async () => {
    const body = `const store = new RedisStore({ url: '${redis.server.url}' });
      let n = 0;
      const next = () => { if (++n === 300) parentPort.postMessage('busy'); store.get('abc' + n, next); };
      for (let i = 0; i < 64; i++) next();`;
    const program = `${worker(body)}
      (async () => {
        for (let i = 0; i < 10; i++) {
          const one = start();
          await message(one);
          await one.terminate();
          await store.set('abc', { i });
          if ((await store.get('abc')).i !== i) throw new Error('wrong session');
        }
        console.log('right');
      })();`;
    expect(await run(program)).toEqual({ ...ended, output: 'right' });
  });
});

test('a module that is loaded a second time works beside the first', async () => {
  const first = await openStore('url', redis.port);
  jest.resetModules();
  const { RedisStore } = require('../..');
  const second = new RedisStore({ url: redis.server.url });
  try {
    await Promise.all([first.set('abc', { n: 1 }), second.set('def', { n: 2 })]);
    expect(await Promise.all([first.get('def'), second.get('abc')])).toEqual([{ n: 2 }, { n: 1 }]);
  } finally {
    await second.close();
  }
});
