'use strict';

// A process of an app whose sessions are indexed by user. It knows nothing of the faults, and may be killed at any time.
//
// Sessions are of three kinds, by the first letter of their ids. `n`: any process loads and saves them, and their user
// stays. `x`: one request at a time, which may change the user. `m`: any process does both, so a request that has loaded
// a session before its user changed may bring the former user back.

const { setTimeout: sleep } = require('node:timers/promises');
const { RedisStore } = require('connect-redis-native');
const { liveSession } = require('../__test__/support/sessions.js');
const { serve } = require('./children.js');
const { connect, indexKey } = require('./deployments.js');

const ACTORS = 64;
const IDS_EVERY_MS = 300;
/** The time for which it is known that a login has ended. */
const ACK_MS = 30_000;
const LIFETIMES = [2000, 5000, 10_000];
/** The time for which a destroyed session may stay in a cache, if its invalidation was lost with a connection. */
const STALENESS_MS = 4000;

const VARIANTS = [{}, { cache: true }, { onConflict: 'merge' }, { transport: 'client' }];

let store;
let client;
let name;
let users;
let isStopped = false;
let ids = [];
let lastId = 0;
const running = [];
const busy = new Set();
const report = { operations: 0, failed: {}, dead: [], gone: [], violations: [], counts: {} };

const below = (limit) => Math.floor(Math.random() * limit);
const pick = (list) => list[below(list.length)];
const pickId = (kinds) => {
  for (let tries = 0; tries < 8 && ids.length > 0; tries++) {
    const id = pick(ids);
    if (kinds.includes(id[0])) return id;
  }
  return undefined;
};

async function load(sid) {
  const data = await store.get(sid);
  return data && store.createSession({ sessionID: sid, sessionStore: store }, data);
}

/** Runs a task on a session of the kind `x` unless another request uses it. Only its own process does. */
async function alone(run) {
  const sid = pick(ids.filter((id) => id.startsWith(`x${name}`)));
  if (sid === undefined || busy.has(sid)) return;
  busy.add(sid);
  try {
    await run(sid);
  } finally {
    busy.delete(sid);
  }
}

async function switchUser(sid) {
  const session = await load(sid);
  if (!session) return;
  await sleep(below(20));
  session.userId = pick(users);
  await store.set(sid, session);
}

const ackKey = (sid) => `acknowledged:${sid}`;

/** Returns true if the login of a session has ended: it cannot be destroyed before. */
const isAcknowledged = async (sid) => (await client.exists(ackKey(sid))) === 1;

/** The sessions of a user that another connection sees, apart from those that may belong to another one. */
async function aliveOf(user) {
  const all = await client.hkeys(indexKey(user));
  const acknowledged = await Promise.all(all.map(isAcknowledged));
  const entries = all.filter((_, at) => acknowledged[at]);
  const texts = await Promise.all(entries.map((sid) => client.get(`sess:${sid}`)));
  return entries.filter((sid, at) => sid[0] !== 'm' && texts[at] && JSON.parse(texts[at]).userId === user);
}

const tasks = {
  async logIn() {
    const sid = `${pick('nnnnnxxm')}${name}-${++lastId}`;
    if (sid[0] === 'x') busy.add(sid);
    try {
      const session = liveSession(sid, { userId: pick(users), n: 0 }, { maxAge: pick(LIFETIMES) });
      if ((await store.set(sid, session)) === null) await client.set(ackKey(sid), '1', 'PX', ACK_MS);
    } finally {
      busy.delete(sid);
    }
  },
  async save() {
    const sid = pickId('nm');
    const session = sid && (await load(sid));
    if (!session) return;
    await sleep(below(10) === 0 ? below(200) : below(10));
    session.n++;
    await store.set(sid, session);
  },
  async touch() {
    const sid = pickId('nm');
    const session = sid && (await load(sid));
    if (!session) return;
    session.cookie.maxAge = session.cookie.originalMaxAge;
    await store.touch(sid, session);
  },
  async logOut() {
    const sid = pickId('n');
    if (sid === undefined || !(await isAcknowledged(sid))) return;
    await store.destroy(sid);
    report.dead.push(sid);
  },
  switchUser: () => alone(switchUser),
  async switchAnyUser() {
    const sid = pickId('m');
    if (sid) await switchUser(sid);
  },
  async destroyAll() {
    const user = pick(users);
    const before = await aliveOf(user);
    await store.destroyAllOf(user);
    for (const sid of before) {
      const text = await client.get(`sess:${sid}`);
      const isAlive = text !== null && (sid[0] === 'n' || JSON.parse(text).userId === user);
      if (isAlive && sid[0] === 'n') {
        const isIndexed = await client.hexists(indexKey(user), sid);
        const what = `${sid} of ${user} is alive after destroyAllOf in process ${name}`;
        report.violations.push(`${what}; ${isIndexed ? '' : 'not '}in the index: ${text}`);
      }
      if (sid[0] === 'n') {
        report.dead.push(sid);
        report.gone.push(sid);
      }
    }
  },
  async destroyOne() {
    const user = pick(users);
    for await (const { handle } of store.sessionsOf(user)) {
      await store.destroyByHandle(user, handle);
      break;
    }
  },
  async update() {
    await store.updateAllOf(pick(users), (session) => {
      session.n++;
    });
  },
  count: () => store.countOf(pick(users)),
};
const WEIGHTS = { logIn: 26, save: 30, touch: 14, logOut: 8, switchUser: 6, switchAnyUser: 4, destroyAll: 4 };
Object.assign(WEIGHTS, { destroyOne: 2, update: 1, count: 2 });
const mix = Object.entries(WEIGHTS).flatMap(([task, weight]) => Array(weight).fill(task));

async function act() {
  while (!isStopped) {
    const task = pick(mix);
    try {
      await tasks[task]();
      report.counts[task] = (report.counts[task] ?? 0) + 1;
    } catch (error) {
      // Without a code, it is one of the client that checks: its message names slots.
      const code = error.code ?? String(error.message).replace(/[^A-Za-z ].*$/s, '…');
      report.failed[code] = (report.failed[code] ?? 0) + 1;
    }
    report.operations++;
  }
}

async function watchIds() {
  while (!isStopped) {
    ids = await store.ids().catch(() => ids);
    await sleep(IDS_EVERY_MS);
  }
}

serve({
  async open({ place, number, variant, users: all }) {
    users = all;
    name = `${number}`;
    const { transport, ...options } = VARIANTS[variant % VARIANTS.length];
    client = connect(place);
    const where = transport === 'client' ? { client: connect(place), transport } : place.store;
    store = new RedisStore({ ...where, userId: (session) => session.userId, ...options });
    store.on('error', () => {});
    running.push(watchIds(), ...Array.from({ length: ACTORS }, act));
  },

  /** Returns what has happened since the last call. */
  report() {
    const taken = structuredClone(report);
    Object.assign(report, { operations: 0, failed: {}, dead: [], gone: [], violations: [], counts: {} });
    return taken;
  },

  /** Returns the sessions that this process still returns, though they were destroyed. */
  async stillThere(sids) {
    const deadline = performance.now() + STALENESS_MS;
    let left = sids;
    for (;;) {
      const found = await Promise.all(left.map((sid) => store.get(sid).catch(() => undefined)));
      left = left.filter((_, at) => found[at]);
      if (left.length === 0 || performance.now() > deadline) return left;
      await sleep(50);
    }
  },

  async stop() {
    isStopped = true;
    await Promise.all(running);
  },
});
