'use strict';

// Terminates eight workers, one after the other, while a reply is due on the connection of each that arrives only when
// the worker is gone. Ends when Redis has none of their connections any more; a store of the main thread stays.

const { once } = require('node:events');
const path = require('node:path');
const { Worker } = require('node:worker_threads');
const { RedisStore } = require('../../..');
const { connectRaw } = require('../../support/redis.js');
const { until } = require('../../support/until.js');

async function main(url, pid) {
  const raw = await connectRaw(Number(new URL(url).port));
  const connections = async () =>
    String(await raw.command('CLIENT', 'LIST'))
      .trim()
      .split('\n').length;
  // Without it, the runtime's thread would end with each worker, and all connections with it.
  const store = new RedisStore({ url });
  await store.get('abc');
  const before = await connections();

  for (let n = 0; n < 8; n++) {
    // A different timeout for each, so that no store shares another's connection.
    const workerData = { url, end: 'forAnswer', options: { commandTimeout: 4000 + n } };
    const worker = new Worker(path.join(__dirname, 'worker.js'), { workerData });
    await once(worker, 'message');
    process.kill(Number(pid), 'SIGSTOP');
    worker.postMessage('ask');
    await once(worker, 'message');
    await worker.terminate();
    process.kill(Number(pid), 'SIGCONT');
  }

  await until(async () => (await connections()) === before);
  console.log('no connections');
  await store.close();
  await raw.close();
}

main(...process.argv.slice(2));
