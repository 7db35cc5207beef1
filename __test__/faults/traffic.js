'use strict';

const { setTimeout: sleep } = require('node:timers/promises');
const { until } = require('../support/until.js');

/** The time after its deadline by which an operation must end, on an idle machine. */
const GRACE_MS = 250;
/** The same on any machine, and how long an operation is waited for before it counts as lost. */
const HANG_GRACE_MS = 10_000;
/** The interval at which the event loop is checked. */
const BEAT_MS = 5;
/** Operations succeed within this time of the server's return, on an idle machine. */
const RETURN_MS = 1000;
/** The number of cases that are listed of a kind of violation. */
const MOST_LISTED = 5;

/** The codes with which operations may fail: errors of the package that name the server. */
const CODES = ['ERR_REDIS_UNAVAILABLE', 'ERR_REDIS_TIMEOUT', 'ERR_REDIS_REPLY', 'ERR_REDIS_QUEUE_FULL'];

/**
 * The steps that each visitor repeats. The operations of a step are called in one tick, so they also show that the
 * order is kept.
 */
const STEPS = [
  ['set', 'get', 'touch'],
  ['get', 'set', 'get'],
  ['set', 'destroy', 'get'],
  ['get', 'touch'],
  ['set', 'set', 'get'],
  ['destroy', 'get', 'set', 'get'],
];

const LONGEST_STEP = Math.max(...STEPS.map((methods) => methods.length));

/** Measures time in which the event loop turned: a block of this process is no fault of the store. */
class Clock {
  #blocked = 0;
  #beat = performance.now();
  #timer = setInterval(() => {
    this.#blocked += this.#stall(performance.now());
    this.#beat = performance.now();
  }, BEAT_MS);

  now() {
    const now = performance.now();
    return now - this.#blocked - this.#stall(now);
  }

  stop() {
    clearInterval(this.#timer);
  }

  #stall(now) {
    return Math.max(0, now - this.#beat - 2 * BEAT_MS);
  }
}

/**
 * Visitors who use a store continuously, and checks of what must hold whatever happens to the server meanwhile:
 * every callback is called, once, no later than the deadline and a grace period; no reply reaches another session's
 * request; an acknowledged write is what is read afterwards, until the next one.
 */
class Traffic {
  #store;
  #deadline;
  #pace;
  #mayForget;
  #mayFallBack;
  #mayDamage;
  #grace;
  #returnMs;
  #clock = new Clock();
  #visitors;
  #running = true;
  #underWay = 0;
  #violations = new Map();

  /** The number of operations. */
  issued = 0;
  succeeded = 0;
  /** The number of operations that failed with each code; replies of the server by their first word. */
  failed = {};
  /** The number of values that the network has damaged. */
  damaged = 0;
  /** The longest time an operation took, in ms. */
  longest = 0;

  /**
   * @param {object} options
   * @param {number} options.deadline the store's `commandTimeout`
   * @param {number} [options.visitors]
   * @param {number} [options.pace] ms between the steps of a visitor
   * @param {string} [options.name] the beginning of the session ids
   * @param {boolean} [options.mayForget] the server may lose its data
   * @param {boolean} [options.mayFallBack] another server may take its place that lacks the last writes
   * @param {boolean} [options.mayDamage] the network may change values
   * @param {number} [options.grace] ms after its deadline within which an operation must end
   * @param {number} [options.returnMs] how soon operations must succeed again
   */
  constructor(store, options) {
    const {
      deadline,
      visitors = 16,
      pace = 2,
      name = 'visitor',
      mayForget = false,
      mayFallBack = false,
      mayDamage = false,
      grace = GRACE_MS,
      returnMs = RETURN_MS,
    } = options;
    this.#store = store;
    this.#deadline = deadline;
    this.#pace = pace;
    this.#mayForget = mayForget;
    this.#mayFallBack = mayFallBack;
    this.#mayDamage = mayDamage;
    this.#grace = grace;
    this.#returnMs = returnMs;
    this.#visitors = Array.from(
      { length: visitors },
      (_, i) => new Visitor(`${name}-${i}-${'x'.repeat(16)}`),
    );
    for (const visitor of this.#visitors) this.#visit(visitor);
  }

  /**
   * Waits until an operation of each visitor has succeeded that ends after this call.
   * @returns how long that took, in ms
   */
  async served() {
    const start = this.#clock.now();
    const areServed = () => this.#visitors.every((visitor) => visitor.served > start);
    await until(areServed).catch((cause) => {
      throw new Error(`No service; failed so far: ${JSON.stringify(this.failed)}`, { cause });
    });
    return Math.max(...this.#visitors.map((visitor) => visitor.served)) - start;
  }

  /**
   * Waits until `times` operations have failed with this code or reply; by default so many that some of them began
   * after others had failed.
   * @returns how many failed so far, by code or reply
   */
  async fails(kind, times = this.#visitors.length * LONGEST_STEP + 1) {
    await until(() => this.failed[kind] >= times);
    return { ...this.failed };
  }

  /** Like `served`, but it is a violation if it takes longer than the server's return allows. */
  async servedAgain() {
    const took = await this.served();
    if (took > this.#returnMs)
      this.#violation('back late', `service ${Math.round(took)} ms after the server's return`);
  }

  /** Lets pending operations end. Returns the violations, one line for each case. */
  async stop() {
    this.#running = false;
    const end = performance.now() + this.#deadline + HANG_GRACE_MS;
    while (this.#underWay > 0 && performance.now() < end) await sleep(BEAT_MS);
    for (const { sid, method } of this.#visitors.flatMap((visitor) => visitor.waiting()))
      this.#violation('lost', `${method} of ${sid} was not called back`);
    this.#clock.stop();
    return [...this.#violations].flatMap(([kind, { count, cases }]) =>
      cases.map((text) => `${kind} (${count}): ${text}`),
    );
  }

  /** Returns, after `stop`, which versions of each session Redis may hold, 0 for none. */
  expected() {
    return this.#visitors.map((visitor) => ({ sid: visitor.sid, versions: visitor.versions }));
  }

  async #visit(visitor) {
    for (let step = visitor.offset; this.#running; step++) {
      const operations = STEPS[step % STEPS.length].map((method) => visitor.next(method));
      await Promise.all(operations.map((operation) => this.#perform(visitor, operation)));
      for (const problem of visitor.judge(this.#mayForget, this.#mayFallBack))
        this.#violation('wrong session', problem);
      await sleep(this.#pace);
    }
  }

  #perform(visitor, operation) {
    const { method, session } = operation;
    const start = this.#clock.now();
    this.issued += 1;
    this.#underWay += 1;
    return new Promise((resolve) => {
      const callback = (error, result) => {
        operation.calls += 1;
        if (operation.calls > 1) {
          this.#violation('doubled', `${method} of ${visitor.sid} was called back ${operation.calls} times`);
          return;
        }
        this.#underWay -= 1;
        const took = this.#clock.now() - start;
        this.longest = Math.max(this.longest, took);
        if (took > this.#deadline + this.#grace)
          this.#violation('late', `${method} took ${Math.round(took)} ms, then ${error ?? 'success'}`);
        this.#note(visitor, operation, error, result);
        resolve();
      };
      if (session) this.#store[method](visitor.sid, session, callback);
      else this.#store[method](visitor.sid, callback);
    });
  }

  #note(visitor, operation, error, result) {
    if (error) {
      this.#noteFailure(visitor, operation, error);
      return;
    }
    operation.succeeded = true;
    visitor.served = this.#clock.now();
    this.succeeded += 1;
    if (operation.method !== 'get') return;
    if (result !== null && result.sum !== sumOf(result)) {
      if (!this.#mayDamage) this.#violation('damaged', JSON.stringify(result));
      this.#noteDamage(operation);
    } else if (result !== null && result.sid !== visitor.sid) {
      this.#violation('another session', `${visitor.sid} received the session of ${result.sid}`);
    } else {
      operation.read = result === null ? Visitor.NOTHING : result.version;
    }
  }

  #noteFailure(visitor, operation, error) {
    const { code, reply, message } = error;
    if (this.#mayDamage && code === 'ERR_SESSION_CORRUPT') {
      this.#noteDamage(operation);
      return;
    }
    const kind = reply ?? code ?? String(error);
    this.failed[kind] = (this.failed[kind] ?? 0) + 1;
    if (!CODES.includes(code)) this.#violation('unnamed error', error.stack);
    if (!message.startsWith(`${operation.method} failed: `)) this.#violation('unnamed operation', message);
    if (message.includes(visitor.sid)) this.#violation('secret', message);
  }

  #noteDamage(operation) {
    operation.damaged = true;
    this.damaged += 1;
  }

  #violation(kind, text) {
    const known = this.#violations.get(kind) ?? { count: 0, cases: [] };
    known.count += 1;
    if (known.cases.length < MOST_LISTED) known.cases.push(text);
    this.#violations.set(kind, known);
  }
}

/** One session, used by no one else, and what Redis may hold of it. */
class Visitor {
  static NOTHING = 0;
  static #count = 0;

  #version = 0;
  #operations = [];
  /** The versions that may be stored: the last acknowledged one, and those whose fate is unknown. */
  #possible = new Set([Visitor.NOTHING]);

  /** When an operation last succeeded. */
  served = Number.NEGATIVE_INFINITY;
  /** Makes visitors start at different steps. */
  offset = Visitor.#count++;

  constructor(sid) {
    this.sid = sid;
  }

  get versions() {
    return [...this.#possible];
  }

  next(method) {
    const operation = { sid: this.sid, method, calls: 0, succeeded: false };
    if (method === 'set') operation.writes = ++this.#version;
    if (method === 'destroy') operation.writes = Visitor.NOTHING;
    if (method === 'set' || method === 'touch') {
      const session = { sid: this.sid, version: this.#version, text: 'y'.repeat(this.#version % 97) };
      operation.session = { ...session, sum: sumOf(session) };
    }
    this.#operations.push(operation);
    return operation;
  }

  waiting() {
    return this.#operations.filter(({ calls }) => calls === 0);
  }

  /** Checks the operations of a step, all of which have ended. Returns what was read but cannot have been stored. */
  judge(mayForget, mayFallBack) {
    const problems = [];
    const operations = this.#operations.splice(0);
    for (const [index, operation] of operations.entries()) {
      const { method, writes, read, succeeded, damaged } = operation;
      if (writes !== undefined) {
        if (succeeded) this.#possible.clear();
        this.#possible.add(writes);
      } else if (method === 'get' && succeeded && !damaged) {
        const isPossible =
          this.#possible.has(read) ||
          ((mayForget || mayFallBack) && read === Visitor.NOTHING) ||
          (mayFallBack && read <= this.#version) ||
          // A read that is sent again comes after writes that were sent after it.
          operations.slice(index).some((later) => later.writes === read);
        if (!isPossible) problems.push(`${this.sid}: read ${read}, possible were ${[...this.#possible]}`);
      }
    }
    return problems;
  }
}

/** Computes an FNV-1a checksum, which distinguishes a damaged value from another session's. */
function sumOf({ sid, version, text }) {
  let sum = 0x811c9dc5;
  for (const letter of `${sid}/${version}/${text}`) sum = Math.imul(sum ^ letter.codePointAt(0), 0x01000193);
  return sum >>> 0;
}

/**
 * Runs `fault` under traffic. The server must work again when it resolves; then operations must succeed, however slow
 * the machine is. Throws the violations; returns the traffic, for its figures.
 */
async function underTraffic(store, options, fault) {
  const traffic = new Traffic(store, { grace: HANG_GRACE_MS, ...options });
  let violations;
  try {
    await traffic.served();
    await fault(traffic);
    await traffic.served();
  } finally {
    violations = await traffic.stop();
  }
  if (violations.length > 0) throw new Error(violations.join('\n'));
  return traffic;
}

module.exports = { Traffic, underTraffic };
