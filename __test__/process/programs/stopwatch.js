'use strict';

// Runs in a worker thread: measures the longest time that a read of a small session takes between `begin` and `end`.

const { parentPort, workerData } = require('node:worker_threads');
const { RedisStore } = require('../../..');

const store = new RedisStore({ url: workerData.url, prefix: 'small:', commandTimeout: 120_000 });
let isOver = false;
let isBegun = false;

async function measure() {
  let longest = 0;
  while (!isOver) {
    const began = performance.now();
    await store.get('abc');
    longest = Math.max(longest, performance.now() - began);
    if (!isBegun) parentPort.postMessage('begun');
    isBegun = true;
  }
  await store.close();
  parentPort.postMessage(longest);
}

parentPort.on('message', (message) => {
  if (message === 'begin') measure();
  else isOver = true;
});
store.get('abc').then(() => parentPort.postMessage('ready'));
