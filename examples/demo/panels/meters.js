'use strict';

const { once } = require('node:events');
const path = require('node:path');
const { performance } = require('node:perf_hooks');
const { Worker } = require('node:worker_threads');
const express = require('express');

const WARM_UP_REQUESTS = 40;
const REQUESTS = 400;
/** Commands that are not part of a request. */
const IGNORED = /^(info|ping|hello|select|client)\b/;

/** Measures one page on connect-redis and on a store with the options that the switches select. */
function createMeters({ client, peer, measured }) {
  const router = express.Router();
  // On its own thread, so that the event-loop time is that of the app alone.
  const visitors = new Worker(path.join(__dirname, 'visitors.js'));
  visitors.unref();
  let lastRound = Promise.resolve();
  let peerFirst = false;

  router.post('/:name', async (req, res, next) => {
    const { name } = req.params;
    const store = measured.get(name);
    if (!store) return next();
    const { localPort } = req.socket;
    const round = lastRound.then(async () => {
      peerFirst = !peerFirst; // what drifts during a round affects both
      const shops = { peer: [peer, '/connect-redis'], native: [store, `/measured/${name}`] };
      const results = {};
      for (const which of peerFirst ? ['peer', 'native'] : ['native', 'peer'])
        results[which] = await measure(...shops[which], localPort);
      return results;
    });
    lastRound = round.catch(() => {});
    res.json(await round);
  });

  /** Lets the visitors request a page, and returns what it cost for each request. */
  async function measure(store, shop, port) {
    await visit({ port, shop, requests: WARM_UP_REQUESTS, signsIn: true });
    const commands = await countCommands(client);
    const hits = store.cacheStats?.()?.hits;
    const before = busyTime();
    const latencies = await visit({ port, shop, requests: REQUESTS });
    const busy = busyTime() - before;
    return {
      eventLoop: (busy * 1000) / REQUESTS,
      commands: ((await countCommands(client)) - commands) / REQUESTS,
      hits: hits === undefined ? null : (store.cacheStats().hits - hits) / REQUESTS,
      latencies,
    };
  }

  async function visit(order) {
    visitors.postMessage(order);
    const [{ latencies, error }] = await once(visitors, 'message');
    if (error) throw new Error(error);
    return latencies;
  }

  return router;
}

/** Returns for how many milliseconds the event loop has been busy. */
function busyTime() {
  // From Node 23.9 on, the CPU time of the thread, to which waiting for a busy machine does not count.
  if (!process.threadCpuUsage) return performance.eventLoopUtilization().active;
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

/** Returns the number of commands that Redis has run. */
async function countCommands(client) {
  const lines = (await client.info('commandstats')).matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm);
  let count = 0;
  for (const [, command, calls] of lines) if (!IGNORED.test(command)) count += Number(calls);
  return count;
}

module.exports = { createMeters };
