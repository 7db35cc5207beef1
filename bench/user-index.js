'use strict';

// Checks the index of a user's sessions: processes log users in and out, change users and destroy sessions, are killed
// between any two commands, and servers fail over. What must hold is read by a client that shares no code with the store.

const { setTimeout: sleep } = require('node:timers/promises');
const { RedisStore } = require('connect-redis-native');
const { seeded } = require('../__test__/support/random.js');
const { askOnce } = require('../__test__/support/redis.js');
const { startChild } = require('./children.js');
const { connect, deployments, indexKey, injectFaults } = require('./deployments.js');
const { format, table } = require('./tables.js');

/** Operations per deployment, and the time after which a run ends anyway. */
const FULL = { operations: 1_000_000, limitMs: 3_600_000 };
const QUICK = { operations: 30_000, limitMs: 60_000 };
const PROCESSES = 4;
/** Twice the longest lifetime and two timeouts, and some time for a busy machine. */
const EXPIRY_MS = 60_000;
const USERS = [
  ...Array.from({ length: 120 }, (_, number) => `user-${number}`),
  ...['someone@example.org', 'a%40b', '{tag}', 'a:b', 'Zoë', '__proto__', '*'],
];

/**
 * @param {object} options
 * @param {string} options.node the Node binary of the processes
 * @param {boolean} options.quick
 * @param {number} options.seed of the faults
 * @param {string} options.server the name of the server
 * @param {string} options.program its binary
 * @returns true if everything held
 */
async function runUserIndex({ node, quick, seed, server, program, kinds = Object.keys(deployments) }) {
  const plan = quick ? QUICK : FULL;
  console.log(`User index, seed ${seed}, ${server}\n`);
  let isKept = true;
  for (const kind of kinds) {
    const start = deployments[kind];
    const deployment = await start(program);
    try {
      const run = new Run(deployment, plan, seeded(seed), node);
      isKept = (await run.run(kind)) && isKept;
    } finally {
      await deployment.stop();
    }
  }
  return isKept;
}

class Run {
  #deployment;
  #plan;
  #random;
  #node;
  #client;
  #children = [];
  #lastNumber = 0;
  #dead = new Set();
  #violations = [];
  #injected = {};
  #figures = { operations: 0, failed: {}, counts: {}, checked: 0, checksFailed: 0, gone: 0 };

  constructor(deployment, plan, random, node) {
    this.#deployment = deployment;
    this.#plan = plan;
    this.#random = random;
    this.#node = node;
    this.#client = connect(deployment.place);
  }

  #below = (limit) => Math.floor(this.#random() * limit);

  async run(kind) {
    const begin = performance.now();
    for (let at = 0; at < PROCESSES; at++) this.#children[at] = await this.#startChild(at);
    const isOver = () =>
      this.#figures.operations >= this.#plan.operations || performance.now() - begin > this.#plan.limitMs;
    const loops = [this.#injectFaults(isOver), this.#collect(isOver), this.#checkIndex(isOver)];
    await Promise.all(loops);
    await this.#end();
    this.#print(kind, performance.now() - begin);
    return this.#violations.length === 0;
  }

  async #startChild(at) {
    const child = startChild(require.resolve('./user-index-process.js'), [], { node: this.#node });
    const number = ++this.#lastNumber;
    await child.call('open', { place: this.#deployment.place, number, variant: at, users: USERS });
    return child;
  }

  /** Injects faults, also into the processes. */
  #injectFaults(isOver) {
    const killed = async () => {
      const at = this.#below(PROCESSES);
      const child = this.#children[at];
      this.#children[at] = undefined;
      await this.#take(child);
      await child.kill();
      this.#children[at] = await this.#startChild(at);
    };
    const others = { 'process killed': killed, 'process killed again': killed };
    return injectFaults(this.#deployment, {
      others,
      below: this.#below,
      isOver,
      injected: this.#injected,
    });
  }

  /** Takes the report of a process. */
  async #take(child) {
    const report = await child?.call('report').catch(() => undefined);
    if (report === undefined) return [];
    const { operations, failed, counts, dead, gone, violations } = report;
    const figures = this.#figures;
    figures.operations += operations;
    for (const [code, count] of Object.entries(failed))
      figures.failed[code] = (figures.failed[code] ?? 0) + count;
    for (const [task, count] of Object.entries(counts))
      figures.counts[task] = (figures.counts[task] ?? 0) + count;
    for (const sid of dead) this.#dead.add(sid);
    this.#violations.push(...violations);
    return gone;
  }

  /** Collects reports, and asks all processes for the sessions that one of them has destroyed. */
  async #collect(isOver) {
    let printedAt = 0;
    while (!isOver()) {
      await sleep(500);
      for (const child of this.#children) await this.#checkGone(await this.#take(child));
      if (performance.now() - printedAt > 10_000) {
        printedAt = performance.now();
        process.stderr.write(
          `${format(this.#figures.operations, 0)} operations, ${this.#violations.length} violations\n`,
        );
      }
    }
  }

  async #checkGone(sids) {
    if (sids.length === 0) return;
    this.#figures.gone += sids.length;
    const lists = this.#children.map((child) => child?.call('stillThere', sids).catch(() => []) ?? []);
    for (const list of await Promise.all(lists))
      for (const sid of list) this.#violations.push(`${sid} is returned by a process after destroyAllOf`);
  }

  async #keys() {
    const keys = [];
    for (const server of await this.#deployment.servers()) {
      let cursor = '0';
      do {
        const [next, found] = await askOnce(server, 'SCAN', cursor, 'COUNT', '1000');
        cursor = String(next);
        keys.push(...found.map(String));
      } while (cursor !== '0');
    }
    return keys;
  }

  /** Checks that each live session is in the index of its user, while everything goes on. */
  async #checkIndex(isOver) {
    while (!isOver()) {
      // A server that a fault has stopped.
      await this.#checkIndexOnce().catch(() => this.#figures.checksFailed++);
      await sleep(200);
    }
  }

  async #checkIndexOnce() {
    const client = this.#client;
    const keys = (await this.#keys()).filter((key) => key.startsWith('sess:'));
    await Promise.all(
      keys.map(async (key) => {
        const text = await client.get(key);
        if (text === null) return;
        const { userId } = JSON.parse(text);
        const sid = key.slice('sess:'.length);
        const isIndexed = await client.hexists(indexKey(userId), sid);
        // Otherwise, it has changed meanwhile, or is gone.
        if ((await client.get(key)) !== text) return;
        this.#figures.checked++;
        if (isIndexed === 0) {
          const left = await client.pttl(key);
          this.#violations.push(`${sid} of ${userId} is alive for ${left} ms, but not in the index: ${text}`);
        }
      }),
    );
  }

  async #end() {
    // Half of the processes are killed in the middle of their work.
    for (const [at, child] of this.#children.entries()) {
      if (at % 2 === 0) await child.call('stop');
      await this.#checkGone(await this.#take(child));
      await (at % 2 === 0 ? child.stop() : child.kill());
    }
    await sleep(500);
    await this.#checkIndexOnce();
    for (const sid of this.#dead)
      if ((await this.#client.exists(`sess:${sid}`)) === 1)
        this.#violations.push(`${sid} is alive after it was destroyed`);
    const store = new RedisStore({ ...this.#deployment.place.store, userId: ({ userId }) => userId });
    const ended = new Set(USERS.slice(0, USERS.length / 2));
    for (const user of ended) await store.destroyAllOf(user);
    for (const key of (await this.#keys()).filter((one) => one.startsWith('sess:'))) {
      const text = await this.#client.get(key);
      if (text !== null && ended.has(JSON.parse(text).userId))
        this.#violations.push(`${key.slice('sess:'.length)} is alive after the last destroyAllOf`);
    }
    await store.close();
    const deadline = performance.now() + EXPIRY_MS;
    while ((await this.#keys()).length > 0 && performance.now() < deadline) await sleep(500);
    const left = await this.#keys();
    if (left.length > 0)
      this.#violations.push(`${left.length} keys remain after everything has expired: ${left[0]}`);
    this.#client.disconnect();
  }

  #print(kind, tookMs) {
    const { operations, failed, counts, checked, checksFailed, gone } = this.#figures;
    const rows = (list) => Object.entries(list).map(([what, count]) => [what, format(count, 0)]);
    console.log(`${kind}: ${format(operations, 0)} operations in ${format(tookMs / 1000, 0)} s\n`);
    console.log(`${table(['operation', 'times'], rows(counts))}\n`);
    console.log(`${table(['fault', 'times'], rows(this.#injected))}\n`);
    console.log(
      `Failed: ${
        Object.entries(failed)
          .map(([code, count]) => `${format(count, 0)} ${code}`)
          .join(', ') || 'none'
      }`,
    );
    console.log(
      `Live sessions looked up in their index: ${format(checked, 0)} (${format(checksFailed, 0)} passes ended early, ` +
        `since a server was down); sessions that had to stay destroyed: ` +
        `${format(this.#dead.size, 0)}, of which all processes were asked for ${format(gone, 0)}`,
    );
    for (const violation of this.#violations.slice(0, 20)) console.log(`VIOLATED: ${violation}`);
    console.log(`${this.#violations.length} violations\n`);
  }
}

module.exports = { runUserIndex };
