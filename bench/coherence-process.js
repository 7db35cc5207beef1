'use strict';

// A process of the coherence check: writes its own keys and records when, or reads all keys and records what it saw and
// when. Times are those of the machine's steady clock, which all processes share.

const { setImmediate: nextTurn, setTimeout: sleep } = require('node:timers/promises');
const { RedisStore } = require('connect-redis-native');
const { connectRaw } = require('../__test__/support/redis.js');
const { seeded } = require('../__test__/support/random.js');
const { serve } = require('./children.js');

const HOUR_MS = 60 * 60 * 1000;
/** The lifetime of a session that is to expire by itself. */
const SHORT_MS = 30;
/** Reads in one tick: many of them share a batch, so that replies wait for each other. */
const MOST_READS = 48;
/** Bursts of reads in flight at a time in a reader: they find reads of each other in flight. */
const BURSTS = 3;
const PAUSE_MS = 10;
/** Writes in flight at a time in a writer. */
const LANES = 6;

const now = () => Number(process.hrtime.bigint()) / 1e6;
const idOf = (key) => `key${key}`;
const session = (version) => ({
  cookie: { originalMaxAge: HOUR_MS, expires: new Date(Date.now() + HOUR_MS), httpOnly: true, path: '/' },
  version,
  padding: 'x'.repeat(version % 300),
});

let task;
let isStopping = false;

/**
 * The events of each key, in order: `[key, version, issued, acknowledged, over]`; version 0 means that
 * there is no session from then on. A write that failed may have taken effect: it counts as never acknowledged.
 */
const events = [];

/** Writes keys `first`, `first + step`, …, each with one write at a time, through a store or by plain commands. */
async function write({ url, port, cache, keys, first, step, seed, direct }) {
  const random = seeded(seed);
  const store = new RedisStore({ url, cache, commandTimeout: 1000 });
  store.on('error', () => {});
  let raw;
  const versions = new Map();
  /** The last own version that was acknowledged: nothing older may be read back from then on. */
  const known = new Map();
  const broken = [];

  async function command(...words) {
    raw ??= await connectRaw(port);
    try {
      const reply = await raw.command(...words);
      if (reply instanceof Error) throw reply;
      return reply;
    } catch (error) {
      raw = undefined;
      throw error;
    }
  }

  async function change(key) {
    const id = idOf(key);
    const issued = now();
    const kind = random();
    let version = 0;
    let delay = 0;
    try {
      if (kind < 0.7) {
        version = (versions.get(key) ?? 0) + 1;
        versions.set(key, version);
        if (direct)
          await command('SET', `sess:${id}`, JSON.stringify(session(version)), 'PX', String(HOUR_MS));
        else await store.set(id, session(version));
        known.set(key, version);
      } else if (kind < 0.8) {
        if (direct) await command('DEL', `sess:${id}`);
        else await store.destroy(id);
      } else if (kind < 0.9) {
        await command('PEXPIRE', `sess:${id}`, String(SHORT_MS));
        delay = SHORT_MS + 1;
        await sleep(2 * delay);
      } else {
        // Changes only the expiry.
        if (direct) await command('PEXPIRE', `sess:${id}`, String(HOUR_MS));
        else await store.touch(id, session(0));
        return;
      }
      events.push([key, version, issued, now() + delay, now()]);
    } catch {
      // JSON has no infinity.
      events.push([key, version, issued, Number.MAX_VALUE, now()]);
      await sleep(20);
    }
  }

  async function readBack(key) {
    const least = known.get(key) ?? 0;
    try {
      const found = await store.get(idOf(key));
      if (found !== null && found.version < least)
        broken.push(`own key ${key}: version ${found.version} was read after ${least} was acknowledged`);
    } catch {
      // While Redis is unreachable.
    }
  }

  const own = [];
  for (let key = first; key < keys; key += step) own.push(key);

  /** The keys of one lane are used by no other. */
  async function writeLane(lane) {
    const mine = own.filter((_key, index) => index % LANES === lane);
    while (!isStopping) {
      const key = mine[Math.floor(random() * mine.length)];
      // A read that the write overtakes.
      const before = direct ? undefined : store.get(idOf(key)).catch(() => {});
      await change(key);
      if (!direct) await readBack(key);
      await before;
      await sleep(random() * PAUSE_MS);
    }
  }

  await Promise.all(Array.from({ length: LANES }, (_, lane) => writeLane(lane)));
  const stats = store.cacheStats();
  await store.close();
  await raw?.close();
  return { events, broken, stats };
}

/** A store whose reads of every tenth key, sometimes, are served from a copy that no change of the session removes. */
class StaleStore extends RedisStore {
  #copies = new Map();
  #reads = 0;

  get(id, callback) {
    const copy = this.#copies.get(id);
    if (!id.endsWith('0')) super.get(id, callback);
    else if (copy !== undefined && this.#reads++ % 10 > 0) callback(null, copy);
    else
      super.get(id, (error, session) => {
        if (session) this.#copies.set(id, session);
        callback(error, session);
      });
  }
}

/** Reads all keys at random. Records what it saw: `[key, version, begun]` in a row. */
async function read({ url, cache, keys, reads, ms, seed, isStale }) {
  const random = seeded(seed);
  const Store = isStale ? StaleStore : RedisStore;
  const store = new Store({ url, cache, commandTimeout: 1000, prefix: 'sess:' });
  store.on('error', () => {});
  const seen = new Float64Array(3 * reads);
  const newest = new Uint32Array(keys);
  const broken = [];
  let count = 0;
  let failed = 0;
  const begun = now();

  function readOne(key) {
    const begun = now();
    const least = newest[key];
    return new Promise((resolve) => {
      store.get(idOf(key), (error, found) => {
        if (error) failed++;
        else if (found !== null) {
          if (found.version < least)
            broken.push(`key ${key} went back from version ${least} to ${found.version}`);
          newest[key] = Math.max(newest[key], found.version);
        }
        if (!error && count < reads) {
          seen.set([key, found?.version ?? 0, begun], 3 * count);
          count++;
        }
        resolve();
      });
    });
  }

  async function readBursts() {
    while (!isStopping && count < reads) {
      const burst = [];
      for (let left = 1 + Math.floor(random() * MOST_READS); left > 0; left--)
        burst.push(readOne(Math.floor(random() * keys)));
      await Promise.all(burst);
      // Evenly over the time in which things fail.
      const early = begun + (count / reads) * ms - now();
      if (early > 0) await sleep(Math.min(early, 50));
      else await nextTurn();
    }
  }

  await Promise.all(Array.from({ length: BURSTS }, readBursts));
  const stats = store.cacheStats();
  await store.close();
  return { seen: Buffer.from(seen.buffer, 0, 24 * count).toString('base64'), count, failed, broken, stats };
}

serve({
  begin(given) {
    task = given.role === 'writer' ? write(given) : read(given);
    task.catch(() => {});
    return process.pid;
  },
  stop() {
    isStopping = true;
  },
  end() {
    return task;
  },
});
