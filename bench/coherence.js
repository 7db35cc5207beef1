'use strict';

// Checks that no read is stale, with and without a cache. Several processes write, destroy, touch and expire shared
// sessions, through a store and by plain commands, while others read them through a network that fails;
// connections are killed, the database is emptied, the server restarted, readers are stopped for a while.
//
// It checks:
// - No reader sees a session go back to an older version, and no writer reads back less than it wrote.
// - No read of a store with a cache returns a version that was overwritten or deleted longer than `maxStaleness`
//   before the read began. A value that stays cached after its invalidation fails this: nothing would ever end it.
// - No read of a store without a cache returns a version whose end had been acknowledged when the read began.

const { setTimeout: sleep } = require('node:timers/promises');
const { seeded } = require('../__test__/support/random.js');
const { startProxy } = require('../__test__/support/proxy.js');
const { connectRaw } = require('../__test__/support/redis.js');
const { startRedis } = require('../scripts/redis.js');
const { startChild } = require('./children.js');

const KEYS = 120;
const MAX_STALENESS_MS = 500;
/** The cache's clocks count whole milliseconds. */
const TOLERANCE_MS = 2;
const CALM_MS = 3000;

/** `uncached` is how many additional readers have no cache. */
const FULL = { readers: 3, uncached: 3, writers: 2, reads: 400_000, ms: 100_000, limitMs: 200_000 };
/** A reader whose cache is stale on purpose: the check must find that. */
const STALE = {
  readers: 1,
  uncached: 0,
  writers: 2,
  reads: 20_000,
  ms: 3000,
  limitMs: 10_000,
  isStale: true,
};
const QUICK = { readers: 2, uncached: 1, writers: 2, reads: 30_000, ms: 10_000, limitMs: 20_000 };

const now = () => Number(process.hrtime.bigint()) / 1e6;

/**
 * Runs the check and prints what it found; returns false if there was a stale read.
 *
 * @param {object} options
 * @param {number} options.seed
 * @param {boolean} [options.quick] a short one
 * @param {boolean} [options.log] true to print
 */
async function checkCoherence({ seed, quick = false, node, log = true, plan = quick ? QUICK : FULL }) {
  const print = log ? console.log : () => {};
  print(`Coherence of reads, seed ${seed}`);
  const random = seeded(seed);
  const redis = await startRedis();
  const proxies = [];
  const children = [];
  const cache = { maxStaleness: MAX_STALENESS_MS };
  try {
    const { url } = redis;
    const writers = [];
    for (let index = 0; index < plan.writers; index++) {
      const child = startChild(require.resolve('./coherence-process.js'), [], { node });
      children.push(child);
      writers.push(child);
      const task = { role: 'writer', url, port: redis.port, cache, keys: KEYS, direct: index % 2 === 1 };
      await child.call('begin', { ...task, first: index, step: plan.writers, seed: seed + index });
    }
    const readers = [];
    for (let index = 0; index < plan.readers + plan.uncached; index++) {
      const proxy = await startProxy(redis.port);
      proxies.push(proxy);
      const child = startChild(require.resolve('./coherence-process.js'), [], { node });
      children.push(child);
      const task = {
        role: 'reader',
        url: proxy.url,
        keys: KEYS,
        reads: plan.reads,
        ms: plan.ms,
        isStale: plan.isStale,
      };
      if (index < plan.readers) task.cache = cache;
      const pid = await child.call('begin', { ...task, seed: seed + 100 + index });
      readers.push({ child, proxy, pid });
    }
    const ended = Promise.all(readers.map(({ child }) => child.call('end')));
    let isOver = false;
    const over = ended.then(
      () => {
        isOver = true;
      },
      () => {
        isOver = true;
      },
    );

    const begun = now();
    const everything = [];
    const faults = {};
    await Promise.race([sleep(CALM_MS), over]);
    const calmUntil = now();
    while (!isOver && now() - begun < plan.limitMs) {
      const [name, fault] = FAULTS[Math.floor(random() * FAULTS.length)];
      faults[name] = (faults[name] ?? 0) + 1;
      const event = await fault({ redis, random, reader: readers[Math.floor(random() * readers.length)] });
      if (event !== undefined) everything.push(event);
      await Promise.race([sleep(100 + random() * 400), over]);
    }
    for (const { child } of readers) await child.call('stop');
    const read = await ended;
    for (const child of writers) await child.call('stop');
    const written = await Promise.all(writers.map((child) => child.call('end')));
    const took = now() - begun;

    const found = judge({ read, written, everything, calmUntil });
    const total = read.reduce((sum, { count }) => sum + count, 0);
    const uncached = read.reduce((sum, { stats, count }) => sum + (stats === null ? count : 0), 0);
    const sum = (field) => read.reduce((of, { stats }) => of + (stats?.[field] ?? 0), 0);
    const writes = written.reduce((of, { events }) => of + events.length, 0);
    print(
      `${total} reads checked in ${Math.round(took / 1000)} s, ${uncached} of them without a cache, ` +
        `${writes} writes; ${JSON.stringify(faults)}`,
    );
    print(
      `hits ${sum('hits')}, misses ${sum('misses')}, invalidations ${sum('invalidations')}, ` +
        `distrusted ${sum('distrusted')}, failed ${read.reduce((of, { failed }) => of + failed, 0)}`,
    );
    print(
      `oldest value of a cache: ${found.oldest.toFixed(1)} ms after it was overwritten; ` +
        `without faults ${found.oldestCalm.toFixed(1)} ms (allowed: ${MAX_STALENESS_MS})`,
    );
    for (const text of found.broken.slice(0, 10)) print(`STALE: ${text}`);
    print(found.broken.length === 0 ? 'No stale read.' : `${found.broken.length} stale reads.`);
    return { ok: found.broken.length === 0, reads: total, uncached, hits: sum('hits'), ...found };
  } finally {
    await Promise.all(children.map((child) => child.stop().catch(() => {})));
    await Promise.all(proxies.map((proxy) => proxy.close().catch(() => {})));
    await redis.stop();
  }
}

const FAULTS = [
  ['CLIENT KILL', ({ redis }) => ask(redis, 'CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')],
  [
    'FLUSHDB',
    async ({ redis }) => {
      const issued = now();
      await ask(redis, 'FLUSHDB');
      return { issued, acknowledged: now() };
    },
  ],
  [
    'restart',
    async ({ redis }) => {
      const issued = now();
      await redis.restart();
      return { issued, acknowledged: now() };
    },
  ],
  [
    'SIGSTOP of a reader',
    async ({ reader, random }) => {
      process.kill(reader.pid, 'SIGSTOP');
      await sleep(random() * 3 * MAX_STALENESS_MS);
      process.kill(reader.pid, 'SIGCONT');
    },
  ],
  [
    'replies and messages late',
    async ({ reader, random }) => {
      reader.proxy.delay({ reply: random() * 2 * MAX_STALENESS_MS });
      await sleep(random() * 4 * MAX_STALENESS_MS);
      await reader.proxy.heal();
    },
  ],
  [
    'a moment late',
    async ({ reader, random }) => {
      reader.proxy.delay({ reply: random() * 20 });
      await sleep(random() * 4 * MAX_STALENESS_MS);
      await reader.proxy.heal();
    },
  ],
  [
    'requests in pieces',
    async ({ reader, random }) => {
      // Between the reads of one batch, others write: invalidations of the first arrive amid the replies.
      reader.proxy.split(100);
      await sleep((1 + random()) * 2 * MAX_STALENESS_MS);
      await reader.proxy.heal();
    },
  ],
  [
    'replies and messages dropped',
    async ({ reader, random }) => {
      reader.proxy.silence();
      await sleep(random() * 4 * MAX_STALENESS_MS);
      // A stream that has lost a part cannot continue.
      reader.proxy.reset();
      await reader.proxy.heal();
    },
  ],
  [
    'connection reset',
    async ({ reader }) => {
      reader.proxy.reset();
    },
  ],
];

async function ask(redis, ...words) {
  const raw = await connectRaw(redis.port);
  await raw.command(...words);
  await raw.close();
}

/**
 * Computes when each version of each key certainly no longer existed: the earliest acknowledgement of what was issued
 * after the version was written. A key has one writer, which does one thing at a time.
 */
function endsOf(written, everything) {
  const ends = Array.from({ length: KEYS }, () => new Map());
  const perKey = Array.from({ length: KEYS }, () => []);
  for (const { events } of written) for (const event of events) perKey[event[0]].push(event);
  for (const [key, events] of perKey.entries()) {
    let end = Number.POSITIVE_INFINITY;
    // From the last one back, each ends what was before it.
    for (const [, version, , acknowledged, over] of events.reverse()) {
      const cleared = everything.filter(({ issued }) => issued > over);
      if (version > 0) ends[key].set(version, Math.min(end, ...cleared.map((event) => event.acknowledged)));
      end = Math.min(end, acknowledged);
    }
  }
  return ends;
}

/** Compares what was read with what had been written by then. */
function judge({ read, written, everything, calmUntil }) {
  const broken = [...read.flatMap((one) => one.broken), ...written.flatMap((one) => one.broken)];
  const ends = endsOf(written, everything);
  let oldest = 0;
  let oldestCalm = 0;
  for (const { seen, count, stats } of read) {
    const isCached = stats !== null;
    const allowed = isCached ? MAX_STALENESS_MS + TOLERANCE_MS : 0;
    const bytes = Buffer.from(seen, 'base64');
    const numbers = new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + 24 * count));
    for (let at = 0; at < numbers.length; at += 3) {
      const version = numbers[at + 1];
      if (version === 0) continue;
      const key = numbers[at];
      const age = numbers[at + 2] - (ends[key].get(version) ?? Number.POSITIVE_INFINITY);
      if (isCached) {
        oldest = Math.max(oldest, age);
        if (numbers[at + 2] < calmUntil) oldestCalm = Math.max(oldestCalm, age);
      }
      if (age > allowed) {
        const gone = `version ${version}, gone for ${age.toFixed(2)} ms when the read began`;
        broken.push(`key ${key}${isCached ? '' : ', without a cache'}: ${gone}`);
      }
    }
  }
  return { broken, oldest, oldestCalm };
}

module.exports = { STALE, checkCoherence };
