'use strict';

// The process whose stores are under fault: it knows nothing of the faults. Visitors use each store continuously, and
// what must hold for them is checked all the time; see __test__/faults/traffic.js.

const { RedisStore } = require('connect-redis-native');
const Redis = require('ioredis');
const { createClient } = require('redis');
const { Traffic } = require('../__test__/faults/traffic.js');
const { serve } = require('./children.js');
const { countThreads } = require('./threads.js');

const limits = { commandTimeout: 1000, connectTimeout: 500 };

// Clients that never connect: only their settings are read, so that their own behaviour in an outage does not matter.
const sources = {
  url: (url) => ({ url }),
  redis6: (url) => ({ client: createClient({ url }).on('error', () => {}) }),
  ioredis6: (url) => ({ client: new Redis(url, { lazyConnect: true }).on('error', () => {}) }),
};

const stores = new Map();

/** Adds a violation to those of a traffic if it did not end in time. */
const orViolation = (promise) =>
  promise.then(
    () => [],
    ({ message }) => [message],
  );

serve({
  async open({ name, source, url, visitors }) {
    const prefix = `${name}:`;
    const store = new RedisStore({ ...sources[source](url), ...limits, prefix });
    const traffic = new Traffic(store, {
      deadline: limits.commandTimeout,
      visitors,
      pace: 0,
      name,
      mayDamage: true,
    });
    stores.set(name, { prefix, store, traffic });
    await traffic.served();
  },

  /** Called when all faults have ended: checks that operations succeed in time. */
  async servedAgain() {
    const all = [...stores.values()].map(({ traffic }) => orViolation(traffic.servedAgain()));
    return (await Promise.all(all)).flat();
  },

  figures() {
    const sum = (key) => [...stores.values()].reduce((total, { traffic }) => total + traffic[key], 0);
    const failed = {};
    for (const { traffic } of stores.values())
      for (const [kind, count] of Object.entries(traffic.failed)) failed[kind] = (failed[kind] ?? 0) + count;
    globalThis.gc();
    const { rss, heapUsed } = process.memoryUsage();
    return {
      issued: sum('issued'),
      succeeded: sum('succeeded'),
      damaged: sum('damaged'),
      longest: Math.max(...[...stores.values()].map(({ traffic }) => traffic.longest)),
      failed,
      rss,
      heapUsed,
      threads: countThreads(),
    };
  },

  /** Ends the traffic. Returns the violations, and what Redis must hold, by its keys. */
  async stop() {
    const violations = [];
    const expected = {};
    for (const [name, { prefix, store, traffic }] of stores) {
      for (const text of await traffic.stop()) violations.push(`${name}: ${text}`);
      expected[name] = traffic.expected().map(({ sid, versions }) => ({ key: prefix + sid, versions }));
      await store.close();
    }
    return { violations, expected };
  },
});
