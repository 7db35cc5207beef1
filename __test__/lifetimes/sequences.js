'use strict';

// Random sequences of what requests, apps and other processes do with a session. Each step checks that no session is
// returned after its deadline, and that no key outlives it. Also used by `bench/lifetimes.js`.

const { randomUUID } = require('node:crypto');
const { setTimeout: pause } = require('node:timers/promises');
const { Cookie, Session } = require('express-session');
const { seeded } = require('../support/random.js');

const KEY = '__createdAt';
/** The tolerance of the guarantees, in ms. */
const TOLERANCE = 100;
const HOUR = 60 * 60 * 1000;
/** Steps of the clock, in ms. */
const STEPS = [0, 0, -50, 50, -1000, 1000, -HOUR, HOUR];

const now = () => performance.now();
const promised = (run) =>
  new Promise((resolve, reject) => {
    run((error, result) => (error ? reject(error) : resolve(result)));
  });

/** Assigns to a store the function by which express-session's middleware generates sessions. */
function generateSessions(store) {
  store.generate = (request) => {
    request.sessionID = randomUUID();
    request.session = new Session(request);
    request.session.cookie = new Cookie({ maxAge: request.maxAge });
  };
}

/** Measures how long the process was not running, or its event loop was busy. */
class Stalls {
  #last = now();
  /** The stalls of the last second: when they ended, and how long they took, in ms. */
  #recent = [];
  #timer = setInterval(() => this.#note(), 5);

  #note() {
    const time = now();
    const took = time - this.#last;
    this.#last = time;
    this.#recent = this.#recent.filter(({ at }) => time - at < 1000);
    if (took > 10) this.#recent.push({ at: time, took });
  }

  /** Returns the longest recent one. */
  get longest() {
    this.#note();
    return Math.max(0, ...this.#recent.map(({ took }) => took));
  }

  stop() {
    clearInterval(this.#timer);
  }
}

/** What the sequences have found. */
class Findings {
  sequences = 0;
  reads = 0;
  ended = 0;
  /** Operations that failed, since a server did. */
  failed = 0;
  /** Sessions that were returned too late, and keys that lived too long; each with the ms beyond the deadline. */
  late = [];
  long = [];
  /** Cookies with an expiry that is too late. */
  cookies = [];
}

/** One sequence: a session, or several after one another. */
class Sequence {
  #random;
  #world;
  #findings;
  #history = [];
  /** The live session of the current request. */
  #session;
  /** The latest time of the deadline, by `performance.now`; undefined while it is not fixed. */
  #deadline;
  /** How long the last write took, in ms: a command that reaches Redis late takes effect late. */
  #delay = 0;
  /** A write has failed, so it may still take effect: until the next one, no lifetime of the key is too long. */
  #isUncertain = false;

  constructor(seed, world, findings) {
    this.#random = seeded(seed);
    this.#world = world;
    this.#findings = findings;
  }

  #pick(items) {
    return items[Math.floor(this.#random() * items.length)];
  }

  async run() {
    await this.#step('create');
    const steps = 4 + Math.floor(this.#random() * 12);
    for (let step = 0; step < steps; step++) {
      if (this.#session !== undefined) await this.#step(this.#pick(this.#world.steps));
      if (this.#session === undefined) await this.#step('create');
    }
    this.#findings.sequences++;
  }

  /** Runs a step. Where servers fail, it may: whether it took effect is then unknown. */
  async #step(name) {
    this.#history.push(name);
    try {
      await this[name]();
    } catch (error) {
      if (!this.#world.hasFaults) throw error;
      this.#findings.failed++;
    }
  }

  get #store() {
    return this.#pick(this.#world.stores);
  }

  get #id() {
    return this.#session.id;
  }

  /** Fixes the deadline of a session of connect-redis if the last operation has stored its creation time. */
  async #fix() {
    const key = `sess:${this.#id}`;
    if (this.#deadline !== undefined || !(await this.#world.text(key))?.includes(KEY)) return;
    this.#deadline = now() + this.#world.maxLifetime;
  }

  /** Creates a session: of this store, or of connect-redis. */
  async create() {
    const { legacy } = this.#world;
    const isOld = this.#random() < 0.3;
    const store = isOld ? legacy : this.#store;
    const request = { sessionStore: store, maxAge: this.#pick([null, 40, 10_000, HOUR]) };
    store.generate(request);
    const begin = now();
    const deadline = begin + this.#world.maxLifetime;
    const { session } = request;
    session.user = 'ann';
    this.#session = undefined;
    this.#isUncertain = false;
    await promised((done) => store.set(session.id, session, done));
    this.#session = session;
    this.#deadline = isOld ? undefined : deadline;
    await this.#settle(store, now() - begin);
  }

  /** Loads the session of a request. */
  async #load(store = this.#store) {
    const id = this.#id;
    const request = { sessionID: id, sessionStore: store };
    const found = await promised((done) =>
      store.get(id, (error, data) => {
        // At this moment, the session is in the hands of the app.
        if (data) this.#checkAge(store);
        done(error, data);
      }),
    );
    this.#findings.reads++;
    if (!found) {
      this.#findings.ended++;
      this.#session = undefined;
      return undefined;
    }
    this.#session = store.createSession(request, found);
    this.#checkCookie(store);
    return store;
  }

  #checkAge(store) {
    if (store === this.#world.legacy || this.#deadline === undefined) return;
    this.#judge(this.#findings.late, now() - this.#deadline);
  }

  #checkCookie(store) {
    const { expires } = this.#session.cookie;
    if (!expires || store === this.#world.legacy || this.#deadline === undefined) return;
    const beyond = expires.getTime() - Date.now() - (this.#deadline - now());
    this.#judge(this.#findings.cookies, beyond);
  }

  /** Adds what lies this many ms beyond the deadline to `found`, unless that is tolerable, or a stall explains it. */
  #judge(found, beyond) {
    if (beyond <= TOLERANCE) return;
    const stall = this.#world.stalls.longest;
    if (beyond > TOLERANCE + stall) found.push({ beyond, stall, history: [...this.#history] });
  }

  /**
   * Checks the lifetime of the key after an operation of this store. A correction of another process's lifetime, or the
   * deletion of a session that is over, may still be on its way; `again` repeats the operation.
   */
  async #check(again = async () => {}) {
    if (this.#deadline === undefined || this.#isUncertain) return;
    const key = `sess:${this.#id}`;
    const deadline = this.#deadline + this.#delay;
    let beyond = Infinity;
    for (let attempt = 0; attempt < this.#world.attempts && beyond > TOLERANCE; attempt++) {
      if (attempt > 0) await pause(10).then(again);
      const asked = now();
      const left = await this.#world.lifetime(key);
      beyond = left === -1 ? Infinity : asked + left - deadline;
      if (left === -2) return;
    }
    this.#judge(this.#findings.long, beyond);
  }

  async #write(store, write) {
    const begin = now();
    this.#isUncertain = true;
    const result = await promised(write);
    this.#isUncertain = false;
    await this.#settle(store, now() - begin);
    return result;
  }

  /** Checks the key after a write that took this many ms. */
  async #settle(store, took) {
    if (store === this.#world.legacy) return;
    await this.#fix();
    this.#delay = took;
    await this.#check();
  }

  async read() {
    const store = await this.#load();
    // A cache hit may precede the invalidation.
    if (this.#session !== undefined) await this.#check(() => store.get(this.#id));
  }

  async touch() {
    const store = await this.#load();
    const session = this.#session;
    if (session === undefined) return;
    session.touch();
    this.#checkCookie(store);
    await this.#write(store, (done) => store.touch(session.id, session, done));
  }

  async save() {
    const store = await this.#load();
    const session = this.#session;
    if (session === undefined) return;
    session.count = this.#random();
    session.touch();
    const result = await this.#write(store, (done) => store.set(session.id, session, done));
    if (result === 'discarded') this.#session = undefined;
  }

  /** Saves a session with a creation time that the app has changed. */
  async tamper() {
    await this.#load();
    if (this.#session !== undefined)
      this.#session[KEY] = this.#pick([Date.now(), Date.now() + HOUR, 'x', undefined]);
    const session = this.#session;
    if (session === undefined) return;
    const store = session.req.sessionStore;
    await this.#write(store, (done) => store.set(session.id, session, done));
  }

  async changeCookie() {
    const store = await this.#load();
    const session = this.#session;
    if (session === undefined) return;
    session.cookie.maxAge = this.#pick([30, 1000, HOUR]);
    session.touch();
    this.#checkCookie(store);
    await this.#write(store, (done) => store.set(session.id, session, done));
  }

  async reload() {
    await this.#load();
    const session = this.#session;
    if (session === undefined) return;
    const { req } = session;
    const error = await new Promise((resolve) => session.reload(resolve));
    if (error) this.#session = undefined;
    else {
      this.#session = req.session;
      this.#checkAge(req.sessionStore);
    }
  }

  async regenerate() {
    await this.#load();
    const session = this.#session;
    if (session === undefined) return;
    const { req } = session;
    req.session = session;
    req.maxAge = 10_000;
    this.#session = undefined;
    await promised((done) => session.regenerate(done));
    const begin = now();
    const deadline = begin + this.#world.maxLifetime;
    const renewed = req.session;
    renewed.user = 'bob';
    const store = req.sessionStore;
    await promised((done) => store.set(renewed.id, renewed, done));
    this.#session = renewed;
    this.#deadline = deadline;
    this.#isUncertain = false;
    await this.#settle(store, now() - begin);
  }

  /** A touch or a save by connect-redis. */
  async foreign() {
    const { legacy } = this.#world;
    if ((await this.#load(legacy)) === undefined) return;
    const session = this.#session;
    session.touch();
    const write = this.#random() < 0.5 ? 'touch' : 'set';
    await this.#write(legacy, (done) => legacy[write](session.id, session, done));
  }

  async wait() {
    await pause(this.#random() * 0.4 * this.#world.maxLifetime);
  }

  async clock() {
    this.#world.clock.step(this.#pick(STEPS));
  }
}

const STEPS_OF_A_REQUEST = [
  'read',
  'touch',
  'touch',
  'save',
  'tamper',
  'changeCookie',
  'reload',
  'regenerate',
];

/**
 * Runs sequences, many at a time.
 *
 * @param {object} options
 * @param {any[]} options.stores of this package, on the same data
 * @param {any} options.legacy a store of connect-redis on the same data
 * @param {(...command: string[]) => Promise<unknown>} options.command runs a command of Redis
 * @param {boolean} [options.hasFaults] servers fail, so operations may
 * @param {{ step: (ms: number) => void } | undefined} options.clock steps at random if it is given
 * @param {number} options.maxLifetime in ms
 * @param {number} options.count
 * @param {number} options.seed
 * @param {number} [options.parallel]
 * @param {(findings: Findings) => void} [options.report] called now and then
 */
async function runSequences({
  stores,
  legacy,
  command,
  clock,
  maxLifetime,
  count,
  seed,
  parallel = 50,
  hasFaults = false,
  report,
}) {
  for (const store of [...stores, legacy]) generateSessions(store);
  const steps = [...STEPS_OF_A_REQUEST, 'foreign', 'foreign', 'wait', 'wait', 'wait', 'wait'];
  if (clock !== undefined) steps.push('clock');
  const lifetime = (key) => command('PTTL', key);
  const text = async (key) => (await command('GET', key))?.toString();
  const stalls = new Stalls();
  // A correction may fail, or wait for a server.
  const attempts = hasFaults ? 500 : 20;
  const world = { stores, legacy, lifetime, text, clock, maxLifetime, steps, stalls, hasFaults, attempts };
  const findings = new Findings();
  let next = 0;
  const lane = async () => {
    while (next < count) {
      const number = next++;
      await new Sequence(seed + number, world, findings).run();
      if (number % 1000 === 999) report?.(findings);
    }
  };
  await Promise.all(Array.from({ length: parallel }, lane));
  clock?.step(0);
  stalls.stop();
  return findings;
}

module.exports = { runSequences };
