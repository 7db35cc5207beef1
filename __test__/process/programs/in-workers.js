'use strict';

// Starts `count` workers, `atOnce` at a time, that end in the way `end`, and terminates those that do not end by
// themselves. Prints how they ended. With `own` the main thread has its own store, which must work after each; without,
// the first and the last store of the process always belong to a worker.

const path = require('node:path');
const { Worker } = require('node:worker_threads');
const { RedisStore } = require('../../..');

const [url, end, count, atOnce, own] = process.argv.slice(2);

async function runWorker() {
  const worker = new Worker(path.join(__dirname, 'worker.js'), { workerData: { url, end } });
  let error;
  worker.on('error', (thrown) => {
    error = thrown;
  });
  worker.on('message', () => worker.terminate());
  // Not `once`, which an 'error' would end before the 'exit'.
  const code = await new Promise((resolve) => worker.on('exit', resolve));
  return error?.message ?? `code ${code}`;
}

async function main() {
  const store = own === 'own' ? new RedisStore({ url, prefix: 'main:' }) : undefined;
  const outcomes = new Set();
  for (let round = 0; round < count / atOnce; round++) {
    for (const outcome of await Promise.all(Array.from({ length: Number(atOnce) }, runWorker)))
      outcomes.add(outcome);
    if (!store) continue;
    await store.set('abc', { round });
    if ((await store.get('abc')).round !== round)
      throw new Error("another session than the main thread's own");
  }
  console.log([...outcomes].join());
}

main();
