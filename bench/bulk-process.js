'use strict';

// Runs one operation on all sessions of one store. The arguments name the store, the server and the number of sessions.

const { setImmediate: nextTurn, setTimeout: delay } = require('node:timers/promises');
const { RedisStore } = require('connect-redis-native');
const { serve } = require('./children.js');
const { threadMilliseconds } = require('./clocks.js');
const { scanAlone } = require('./scan-alone.js');
const { contentOf, newSession } = require('./sessions.js');
const { openStore } = require('./stores.js');

const [name, redisUrl, count] = process.argv.slice(2);
const TICK_MS = 1;
/** Reading the resident set takes longer than a tick should. */
const TICKS_PER_SAMPLE = 20;

const operations = {
  length: (store) => promised(store, 'length'),
  ids: async (store) => (await promised(store, 'ids')).length,
  all: async (store) => (await promised(store, 'all')).length,
  scan: async (store) => {
    let count = 0;
    for await (const { session } of store.scan()) if (session !== null) count++;
    return count;
  },
  // In the database of the first store. Each session is the only one of its user.
  reindex: async () => {
    const url = new URL(redisUrl);
    url.pathname = '/1';
    const store = new RedisStore({ url: url.href, userId: ({ passport }) => passport.user });
    const count = await store.reindex();
    await store.close();
    return count;
  },
  clear: (store) => promised(store, 'clear'),
  // Measures what Redis and the connection to it cost for each session, in the database of the first store.
  alone: () => scanAlone(new URL(redisUrl), 1),
  // Measures what V8 itself costs: so many sessions parsed from their texts, in slices, and kept.
  floor: async () => {
    const text = JSON.stringify(newSession({ sessionID: '' }, contentOf('0.4 KB')));
    const sessions = [];
    while (sessions.length < Number(count)) {
      for (let number = 0; number < 128; number++) sessions.push(JSON.parse(text));
      await nextTurn();
    }
    return sessions.length;
  },
};

function promised(store, method) {
  return new Promise((resolve, reject) => {
    store[method]((error, result) => (error ? reject(error) : resolve(result)));
  });
}

/**
 * V8 soon takes all the memory that its young generation may have, whatever an app does. It takes it before the
 * measurement, so that the growth of the process is the store's.
 */
function fillYoungGeneration() {
  let kept = [];
  for (let number = 0; number < 4_000_000; number++) {
    kept.push({ number });
    if (kept.length === 200_000) kept = [];
  }
}

/** Measures how long the event loop does not turn, and how large the process grows, until stopped. */
function watch() {
  const start = process.memoryUsage.rss();
  let longest = 0;
  let largest = start;
  let ticks = 0;
  let last = performance.now();
  let busiest = 0;
  let used = threadMilliseconds();
  const sample = () => {
    largest = Math.max(largest, process.memoryUsage.rss());
  };
  const tick = () => {
    const now = performance.now();
    longest = Math.max(longest, now - last - TICK_MS);
    const usedNow = threadMilliseconds();
    busiest = Math.max(busiest, usedNow - used);
    if (++ticks % TICKS_PER_SAMPLE === 0) sample();
    // The time of measuring is not the store's.
    last = performance.now();
    used = threadMilliseconds();
  };
  const timer = setInterval(tick, TICK_MS);
  return () => {
    tick();
    clearInterval(timer);
    sample();
    return { stall: longest, busiest, growth: largest - start };
  };
}

serve({
  async run(operation) {
    const { store, close } = await openStore(name, redisUrl);
    // The connection is open, and the code has run once.
    await new Promise((resolve) => store.get('nobody', resolve));
    fillYoungGeneration();
    global.gc();
    await nextTurn();
    await delay(50);
    const stop = watch();
    await delay(10);
    const begin = performance.now();
    let count;
    let failure;
    try {
      count = await operations[operation](store);
    } catch (error) {
      failure = error.message.slice(0, 100);
    }
    const seconds = (performance.now() - begin) / 1000;
    const watched = stop();
    await close();
    return { seconds, count: count ?? null, failure, ...watched };
  },
});
