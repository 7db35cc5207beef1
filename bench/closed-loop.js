'use strict';

// A closed loop: a constant number of operations is in flight; whenever one calls back, the next is called from within
// its callback. The callbacks must be asynchronous, else the loop would be a recursion.

const { performance } = require('node:perf_hooks');
const { startClocks } = require('./clocks.js');
const { randomOrder } = require('./sessions.js');

const ORDER_LENGTH = 8192; // a power of two, so that a mask wraps it
// Latency is measured for one operation in so many, to keep the clock's own cost out of the figures. An odd number, so
// that with 16 or 128 in flight the samples wander through the places in a batch.
const SAMPLED_OF_MANY = 17;
const SAMPLED_OF_ONE = 3;

const issue = {
  get(store, sid, _session, callback) {
    store.get(sid, callback);
  },
  // Changed each time, like a session that needs saving, without a change of its size.
  set(store, sid, session, callback) {
    session.visits += 1;
    store.set(sid, session, callback);
  },
  touch(store, sid, session, callback) {
    store.touch(sid, session, callback);
  },
  // The operations that express-session asks of a store when a request begins …
  load(store, sid, _session, callback) {
    store.get(sid, (error, loaded) => {
      if (!error) store.createSession({ sessionID: sid, sessionStore: store }, loaded);
      callback(error);
    });
  },
  // … and until it ends, if it has changed nothing in its session.
  request(store, sid, _session, callback) {
    store.get(sid, (error, loaded) => {
      if (error) return callback(error);
      const req = { sessionID: sid, sessionStore: store };
      store.touch(sid, store.createSession(req, loaded), callback);
    });
  },
};

/**
 * Runs one operation for `ms` milliseconds on sessions selected at random and returns its cost: microseconds
 * per operation on each clock, operations per second, and the latency's p50 and p99 in microseconds.
 */
function runClosedLoop({ store, operation, ids, sessions, inFlight, ms }) {
  const order = randomOrder(ORDER_LENGTH, ids.length);
  const sampleEvery = inFlight === 1 ? SAMPLED_OF_ONE : SAMPLED_OF_MANY;
  const issueOne = issue[operation];
  const latencies = [];
  let started = 0;
  let running = inFlight;
  let stopping = false;

  return new Promise((resolve, reject) => {
    const startLane = () => {
      let startedAt = 0;

      const next = () => {
        if (stopping) {
          running -= 1;
          if (running === 0) finish();
          return;
        }
        const number = started++;
        const index = order[number & (ORDER_LENGTH - 1)];
        startedAt = number % sampleEvery === 0 ? performance.now() : 0;
        issueOne(store, ids[index], sessions[index], done);
      };

      const done = (error, result) => {
        if (startedAt !== 0) latencies.push(performance.now() - startedAt);
        if (error) fail(error);
        else if (operation === 'get' && !result?.cookie) fail(new Error('get returned no session'));
        else next();
      };

      next();
    };

    const timer = setTimeout(() => {
      stopping = true;
    }, ms);

    const fail = (error) => {
      clearTimeout(timer);
      stopping = true;
      reject(error);
    };

    const finish = () => {
      const cost = stopClocks();
      const sorted = Float64Array.from(latencies).sort();
      resolve({
        thread: cost.thread / started,
        active: cost.active / started,
        cpu: cost.cpu / started,
        perSecond: started / (cost.wall / 1e6),
        p50: quantile(sorted, 0.5) * 1000,
        p99: quantile(sorted, 0.99) * 1000,
      });
    };

    const stopClocks = startClocks();
    for (let lane = 0; lane < inFlight; lane++) startLane();
  });
}

/** Returns the value below which that share of the sorted values lies. */
function quantile(sorted, share) {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

module.exports = { runClosedLoop, quantile, issue };
