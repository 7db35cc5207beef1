'use strict';

// The process whose memory is measured. The arguments name the store and the server.

const { setImmediate: nextTurn } = require('node:timers/promises');
const { serve } = require('./children.js');
const { issue } = require('./closed-loop.js');
const { storeAndLoad, randomOrder } = require('./sessions.js');
const { openStore } = require('./stores.js');
const { countThreads } = require('./threads.js');

const [key, redisUrl] = process.argv.slice(2);
const KIND = '0.4 KB';

// One turn of the mix; a session that was destroyed is stored again by its next `set`.
const MIX = ['get', 'touch', 'get', 'set', 'get', 'touch', 'get', 'destroy', 'get', 'set'];
const operations = {
  ...issue,
  destroy: (store, sid, _session, callback) => store.destroy(sid, callback),
};

const threadsAtStart = countThreads();
const rssAtStart = process.memoryUsage.rss();
let first;

async function openFirst() {
  const { store, close } = await openStore(key, redisUrl);
  return { store, close, ...(await storeAndLoad(store, KIND)) };
}

function operate({ store, ids, sessions }, count, inFlight) {
  const order = randomOrder(65_536, ids.length);
  let started = 0;
  let running = inFlight;
  return new Promise((resolve, reject) => {
    const next = () => {
      if (started === count) {
        running -= 1;
        if (running === 0) resolve();
        return;
      }
      const number = started++;
      const index = order[number % order.length];
      operations[MIX[number % MIX.length]](store, ids[index], sessions[index], done);
    };
    const done = (error) => (error ? reject(error) : next());
    for (let lane = 0; lane < inFlight; lane++) next();
  });
}

/** Returns the memory without what the next garbage collection would free anyway. */
async function settledMemory() {
  global.gc();
  await nextTurn(); // finalizers run between turns of the event loop
  global.gc();
  const { rss, heapUsed, external } = process.memoryUsage();
  return { rss, heapUsed, external };
}

serve({
  async operate({ count, inFlight }) {
    await operate(first, count, inFlight);
  },

  async memory() {
    first ??= await openFirst();
    return settledMemory();
  },

  async countThreads(stores) {
    const taken = async (when) => ({ when, threads: countThreads(), rss: (await settledMemory()).rss });
    const counts = [{ when: 'before the first store', threads: threadsAtStart, rss: rssAtStart }];
    counts.push(await taken('1 store'));
    const more = [];
    while (more.length < stores - 1) {
      const open = await openStore(key, redisUrl);
      more.push(open);
      await new Promise((resolve, reject) => {
        open.store.get(first.ids[0], (error) => (error ? reject(error) : resolve()));
      });
    }
    counts.push(await taken(`${stores} stores`));
    await Promise.all([first, ...more].map(({ close }) => close()));
    counts.push(await taken('all closed'));
    return counts;
  },
});
