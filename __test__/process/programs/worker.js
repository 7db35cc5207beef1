'use strict';

// Runs in a worker thread, with a store of its own, and ends in the way that `workerData.end` says.

const { parentPort, threadId, workerData } = require('node:worker_threads');
const { RedisStore } = require('../../..');

const store = new RedisStore({ url: workerData.url, prefix: `worker-${threadId}:`, ...workerData.options });

/** Keeps 64 reads under way; `busy` is called when 300 were answered. */
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
  byItself: () => store.get('abc', () => {}),
  byExit: () => flood(() => process.exit(3)),
  byException: () =>
    flood(() => {
      throw new Error('thrown by a callback');
    }),
  // For the main thread to terminate.
  notAtAll: () => flood(() => parentPort.postMessage('busy')),
  blocked: () =>
    flood(() => {
      parentPort.postMessage('busy');
      for (;;);
    }),
  // The same, with an answer under way that does not come before it does.
  forAnswer() {
    parentPort.once('message', () => {
      store.get('abc', () => {});
      // By then it has been handed over.
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
