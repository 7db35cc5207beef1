'use strict';

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');
const { freePort } = require('../../scripts/redis.js');
const { useRedis } = require('../support/redis.js');
const { until } = require('../support/until.js');

const EXAMPLES = path.join(__dirname, '..', '..', 'examples');

const redis = useRedis();

let app;
afterEach(async () => {
  const exited = once(app, 'exit');
  if (app.kill('SIGKILL')) await exited;
});

/** Runs an example in its own process, waits until it answers, and returns its address. */
async function start(example) {
  const port = await freePort();
  app = spawn(process.execPath, [path.join(EXAMPLES, example)], {
    env: { ...process.env, PORT: String(port), REDIS_URL: redis.server.url },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const origin = `http://127.0.0.1:${port}`;
  const answers = () =>
    fetch(origin).then(
      () => true,
      () => false,
    );
  await until(async () => app.exitCode !== null || (await answers()));
  return origin;
}

const examples = ['commonjs/app.js', 'esm/app.mjs', 'fastify/app.js'];
// Node 20 and early versions of Node 22 do not run TypeScript.
if (process.features.typescript) examples.push('typescript/app.mts');

test.each(examples)('examples/%s counts the views of a visitor in a session of Redis', async (example) => {
  const origin = await start(example);
  const first = await fetch(origin);
  const cookie = first.headers.get('set-cookie').split(';')[0];
  const second = await fetch(origin, { headers: { cookie } });

  expect(await first.text()).toMatch(/^Views: 1\b/);
  expect(await second.text()).toMatch(/^Views: 2\b/);
  const id = decodeURIComponent(cookie).match(/[^=]+=(?:s:)?([^.]+)/)[1];
  expect(await redis.stored(`sess:${id}`)).toMatchObject({ views: 2 });
});
