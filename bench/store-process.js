'use strict';

// Runs one store in its own process, so that no store uses a heap, or optimised code, that another one shaped. The
// arguments name the store and the server.

const session = require('express-session');
const { serve } = require('./children.js');
const { startClocks, threadClockName } = require('./clocks.js');
const { runClosedLoop } = require('./closed-loop.js');
const { exchangeAlone } = require('./exchange.js');
const { KINDS, contentOf, newSession, storeAndLoad } = require('./sessions.js');
const { openStore } = require('./stores.js');

const [name, redisUrl] = process.argv.slice(2);
const kinds = new Map();
const floors = new Map();
let open;

function jsonWork(kind) {
  if (!floors.has(kind)) {
    const sessions = Array.from({ length: KINDS[kind].count }, () => newSession({}, contentOf(kind)));
    const texts = sessions.map((session) => JSON.stringify(session));
    floors.set(kind, {
      parse: (number) => JSON.parse(texts[number % texts.length]),
      stringify: (number) => JSON.stringify(sessions[number % sessions.length]),
    });
  }
  return floors.get(kind);
}

serve({
  async prepare(wanted) {
    open = await openStore(name, redisUrl);
    // As in an app: this shows a store that express-session uses it. Other frameworks do not.
    if (name !== 'native, unattached')
      session({ store: open.store, secret: 'bench', resave: false, saveUninitialized: false });
    for (const kind of wanted) kinds.set(kind, await storeAndLoad(open.store, kind));
    return { node: process.version, threadClock: threadClockName };
  },

  run({ operation, kind, inFlight, ms }) {
    return runClosedLoop({ store: open.store, operation, ...kinds.get(kind), inFlight, ms });
  },

  // The JSON work that a get or a set of the same session cannot avoid.
  floor({ operation, kind, ms }) {
    const work = jsonWork(kind)[operation];
    const stopClocks = startClocks();
    const end = performance.now() + ms;
    let count = 0;
    while (performance.now() < end) {
      for (const stop = count + 20; count < stop; count++) work(count);
    }
    return { thread: stopClocks().thread / count };
  },

  exchange({ ms }) {
    return exchangeAlone(new URL(redisUrl), ms);
  },

  close() {
    return open.close();
  },
});
