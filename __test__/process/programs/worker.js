'use strict';

// Runs in a worker thread, with its own store, and ends in the way that `workerData.end` says.

const { parentPort, threadId, workerData } = require('node:worker_threads');
const { RedisStore } = require('../../..');

const store = new RedisStore({
  url: workerData.url,
  prefix: `worker-${threadId}:`,
  ...workerData.options,
  ...(workerData.end === 'ofUsers' ? { userId: ({ userId }) => userId, maxLifetime: 60 } : {}),
});

/** Keeps 64 reads pending; calls `busy` when 300 have completed. */
function flood(busy) {
  let answered = 0;
  const next = () => {
    if (++answered === 300) busy();
    store.get('abc', next);
  };
  for (let i = 0; i < 64; i++) store.get('abc', next);
}

/** Logs users in and out, lists and indexes their sessions, 16 at a time; calls `busy` when 300 have completed. */
function floodOfUsers(busy) {
  let completed = 0;
  const tasks = [
    (n) => store.set(`s${n}`, { cookie: {}, userId: n % 7 }),
    (n) => store.touch(`s${n - 1}`, { cookie: {}, userId: n % 7 }),
    (n) => store.countOf(n % 7),
    (n) => store.destroyAllOf(n % 7),
    () => store.reindex(),
  ];
  const lane = async (first) => {
    for (let n = first; ; n += 16) {
      await tasks[n % tasks.length](n);
      if (++completed === 300) busy();
    }
  };
  for (let first = 0; first < 16; first++) lane(first);
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
  ofUsers: () => floodOfUsers(() => parentPort.postMessage('busy')),
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
