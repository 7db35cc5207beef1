'use strict';

// Measures what a store costs an app: requests of signed-in visitors, each of which reads the session (`get` at its
// start, `touch` at its end).

const { startChild } = require('./children.js');
const { rotated, summarise } = require('./rounds.js');
const { NO_STORE } = require('./stores.js');

const VISITORS = 500;

/** Per store, and for the app without sessions: requests per second, latency, server time per request. */
async function measureExpress({ rounds, ms, warmUpMs, connections }, stores, redisUrl, node) {
  const names = [...stores, NO_STORE];
  const results = new Map(names.map((name) => [name, []]));
  const apps = new Map();
  const visitors = startChild(require.resolve('./express-load.js'), [], { node });
  try {
    for (const name of names) {
      const child = startChild(require.resolve('./express-server.js'), [name, redisUrl], { node });
      apps.set(name, { child });
      const port = await child.call('listen');
      const cookies =
        name === NO_STORE ? ['a=b'] : await visitors.call('signIn', { port, visitors: VISITORS });
      apps.set(name, { child, port, cookies });
    }

    // The first round makes the code hot and is not counted.
    for (let round = 0; round <= rounds; round++) {
      process.stderr.write(`Express, round ${round} of ${rounds}\n`);
      for (const name of rotated(names, round)) {
        const { child, port, cookies } = apps.get(name);
        await child.call('startClocks');
        const task = { port, cookies, connections, ms: round === 0 ? warmUpMs : ms };
        const { requests, perSecond, p50, p99 } = await visitors.call('load', task);
        const { thread, active, cpu } = await child.call('stopClocks');
        if (round === 0) continue;
        results.get(name).push({
          thread: thread / requests,
          active: active / requests,
          cpu: cpu / requests,
          perSecond,
          p50,
          p99,
        });
      }
    }
    for (const { child } of apps.values()) await child.call('close');
    return names.map((store) => ({ store, ...summarise(results.get(store)) }));
  } finally {
    for (const { child } of apps.values()) await child.stop();
    await visitors.stop();
  }
}

module.exports = { measureExpress };
