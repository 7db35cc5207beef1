'use strict';

// The process whose memory is measured while a million sessions pass through the cache. The arguments are the server
// and, for no cache, `off`.

const { RedisStore } = require('connect-redis-native');
const { contentOf, newSession } = require('./sessions.js');
const { serve } = require('./children.js');

const [url, which] = process.argv.slice(2);
const IN_FLIGHT = 128;
const cache = which === 'off' ? undefined : { maxBytes: Number(which) };
const store = new RedisStore({ url, cache, ttl: 600 });

function settled() {
  global.gc();
  return process.memoryUsage.rss();
}

serve({
  /** Saves sessions `from` to `to`; returns the memory of the process afterwards. */
  async churn({ from, to }) {
    const session = newSession({ sessionID: 'x' }, contentOf('0.4 KB'));
    const plain = JSON.parse(JSON.stringify(session));
    let next = from;
    const lane = async () => {
      while (next < to) await store.set(`visitor-number-${next++}`, plain);
    };
    await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
    return { rss: settled(), stats: store.cacheStats() };
  },

  close: () => store.close(),
});
