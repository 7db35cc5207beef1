'use strict';

// The comparison: every store does every operation in every round, in an order that rotates from round to round, so
// that other load on the machine affects all of them alike. Reported is the median over the rounds.

const { execFileSync } = require('node:child_process');
const { mkdirSync, writeFileSync } = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { startRedis } = require('../scripts/redis.js');
const { findServer } = require('../scripts/servers.js');
const charts = require('./charts.js');
const { startChild } = require('./children.js');
const { rotated, summarise } = require('./rounds.js');
const { measureExpress } = require('./express.js');
const { ratios, tables } = require('./tables.js');

const OPERATIONS = ['get', 'set', 'touch'];

// The store whose figures are the cost of measuring.
const EMPTY = 'empty';

const cases = (operations, kind, inFlights) =>
  operations.flatMap((operation) => inFlights.map((inFlight) => ({ operation, kind, inFlight })));

const FULL = {
  rounds: 7,
  ms: 400,
  warmUpMs: 500,
  cases: [
    ...cases(OPERATIONS, '0.4 KB', [1, 16, 128]),
    ...cases(['get', 'set'], '0.4 KB, not ASCII', [128]),
    ...cases(['get', 'set'], '4 KB', [16, 128]),
    ...cases(['get', 'set'], '64 KB', [16]),
  ],
  express: { rounds: 5, ms: 2000, warmUpMs: 2000, connections: 32 },
};

const QUICK = {
  rounds: 3,
  ms: 100,
  warmUpMs: 200,
  cases: [...cases(OPERATIONS, '0.4 KB', [1, 16, 128]), ...cases(['get', 'set'], '64 KB', [16])],
  express: { rounds: 2, ms: 500, warmUpMs: 500, connections: 32 },
};

/**
 * Runs the comparison and prints its tables.
 *
 * @param {object} options
 * @param {string} options.node the Node binary of the measured processes
 * @param {boolean} options.quick a smoke test: too short for reliable figures
 * @param {string[]} options.stores keys of the stores
 * @param {string} [options.out] the folder to write results and charts to
 */
async function compare({ node, quick, stores, out }) {
  const plan = quick ? QUICK : FULL;
  const redis = await startRedis();
  try {
    const { measured, floors, exchange, threadClock, nodeVersion } = await measureStores(
      plan,
      stores,
      redis.url,
      node,
    );
    const express = await measureExpress(plan.express, stores, redis.url, node);
    const results = {
      about: about(nodeVersion, threadClock, plan),
      stores: measured,
      floors,
      exchange,
      express,
      ratios: ratios(measured),
    };
    const text = tables(results);
    console.log(text);
    if (out) write(out, results, text);
  } finally {
    await redis.stop();
  }
}

async function measureStores(plan, stores, redisUrl, node) {
  const names = [...stores, EMPTY];
  const kinds = [...new Set(plan.cases.map(({ kind }) => kind))];
  const children = new Map();
  try {
    let facts;
    for (const name of names) {
      const child = startChild(require.resolve('./store-process.js'), [name, redisUrl], { node });
      children.set(name, child);
      facts = await child.call('prepare', kinds);
    }

    const runs = plan.cases.map((task) => ({ ...task, rounds: names.map(() => []) }));
    const floors = kinds.flatMap((kind) =>
      ['parse', 'stringify'].map((operation) => ({ operation, kind, rounds: [] })),
    );
    const exchanges = [];
    // The first round makes the code hot and is not counted.
    for (let round = 0; round <= plan.rounds; round++) {
      process.stderr.write(`Operations, round ${round} of ${plan.rounds}\n`);
      const ms = round === 0 ? plan.warmUpMs : plan.ms;
      for (const { rounds, ...task } of runs) {
        for (const name of rotated(names, round)) {
          const result = await children.get(name).call('run', { ...task, ms });
          if (round > 0) rounds[names.indexOf(name)].push(result);
        }
      }
      for (const { rounds, ...task } of floors) {
        const result = await children.get(EMPTY).call('floor', { ...task, ms });
        if (round > 0) rounds.push(result);
      }
      const exchange = await children.get(EMPTY).call('exchange', { ms });
      if (round > 0) exchanges.push(exchange);
    }
    for (const child of children.values()) await child.call('close');
    return {
      measured: runs.flatMap(({ rounds, ...task }) =>
        names.map((store, index) => ({ store, ...task, ...summarise(rounds[index]) })),
      ),
      floors: floors.map(({ rounds, ...task }) => ({ ...task, ...summarise(rounds) })),
      exchange: summarise(exchanges),
      threadClock: facts.threadClock,
      nodeVersion: facts.node,
    };
  } finally {
    for (const child of children.values()) await child.stop();
  }
}

function about(nodeVersion, threadClock, plan) {
  const version = (name) => require(`../node_modules/${name}/package.json`).version;
  return {
    date: new Date().toISOString().slice(0, 10),
    cpu: os.cpus()[0].model.trim(),
    cores: os.cpus().length,
    system: `${os.type()} ${os.release()}`,
    node: nodeVersion,
    redis: execFileSync(findServer(), ['--version'], { encoding: 'utf8' }).match(/v=(\S+)/)[1],
    packages: {
      'connect-redis-native': require('../package.json').version,
      'connect-redis 10': version('connect-redis10'),
      redis: version('redis'),
      'connect-redis 8': version('connect-redis8'),
      ioredis: version('ioredis'),
      'express-session': version('express-session'),
      express: version('express'),
    },
    threadClock,
    rounds: plan.rounds,
    roundMs: plan.ms,
    express: plan.express,
  };
}

function write(out, results, text) {
  mkdirSync(out, { recursive: true });
  const files = {
    'results.json': `${JSON.stringify(results, null, 1)}\n`,
    'table.md': text,
    'event-loop.svg': charts.eventLoop(results),
    'throughput.svg': charts.throughput(results),
    'latency.svg': charts.latency(results),
    'express.svg': charts.express(results),
  };
  for (const [file, content] of Object.entries(files)) writeFileSync(path.join(out, file), content);
  console.log(`Written to ${path.relative(process.cwd(), out)}: ${Object.keys(files).join(', ')}`);
}

module.exports = { cases, compare, measureStores };
