'use strict';

// Runs in a worker thread, with its own store, and ends in the way that `workerData.end` says.

const { parentPort, threadId, workerData } = require('node:worker_threads');
const { RedisStore } = require('../../..');

const store = new RedisStore({ url: workerData.url, prefix: `worker-${threadId}:`, ...workerData.options });

/** Keeps 64 reads pending; calls `busy` when 300 have completed. */
function flood(busy) {
  let answered = 0;
  const next = () => {
    if (++answered === 300) busy();
    store.get('abc', next);
  };
  for (let i = 0; i < 64; i++) store.get('abc', next);
}

const ends = {
  // Nothing is left to do: the store is idle, its connection open.
  whenIdle: () => store.get('abc', () => {}),
  byExit: () => flood(() => process.exit(3)),
  byException: () =>
    flood(() => {
      throw new Error('thrown by a callback');
    }),
  // Until the main thread terminates it.
  never: () => flood(() => parentPort.postMessage('busy')),
  blocked: () =>
    flood(() => {
      parentPort.postMessage('busy');
      for (;;);
    }),
  // The same, with a reply due that arrives only afterwards.
  forAnswer() {
    parentPort.once('message', () => {
      store.get('abc', () => {});
      // The operation has reached the addon by then.
      setImmediate(() => parentPort.postMessage('asked'));
    });
    store.get('abc', () => parentPort.postMessage('connected'));
  },
  async afterWork() {
    for (let n = 0; n < 200; n++) {
      await store.set('abc', { n });
      if ((await store.get('abc')).n !== n) throw new Error('another session than the one just set');
    }
    await store.close();
  },
};

ends[workerData.end]();
