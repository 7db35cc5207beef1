'use strict';

// Measures the operations on all sessions, with a million of them: their duration, how long they block the event loop,
// how much memory they need, and how long they keep Redis from its other work.

const { startProxy } = require('../__test__/support/proxy.js');
const { connectRaw } = require('../__test__/support/redis.js');
const { startRedis } = require('../scripts/redis.js');
const { machine, stalls, writeChart } = require('./charts.js');
const { startChild } = require('./children.js');
const { contentOf, newSession } = require('./sessions.js');
const { stores } = require('./stores.js');
const { format, table } = require('./tables.js');

const FULL = { sessions: 1_000_000, rounds: 2 };
const QUICK = { sessions: 50_000, rounds: 1 };
// With a young generation of fixed size, which is full before (see `bulk-process.js`), a process grows by what an
// operation keeps, and not by how V8 fits its heap to it.
const FLAGS = [
  '--expose-gc',
  '--max-old-space-size=4096',
  '--min-semi-space-size=16',
  '--max-semi-space-size=16',
];

/** Sessions that are stored by one script: Redis does nothing else meanwhile. */
const CHUNK = 20_000;
const OPERATIONS = ['length', 'ids', 'scan', 'all', 'reindex', 'clear'];
/** Those that only this store has. */
const OWN_OPERATIONS = ['scan', 'reindex'];
/** Also measured with Redis at a distance, where round trips dominate. */
const FAR_OPERATIONS = ['length', 'ids'];
/** The latency to the server, in ms; Node's timers support no less. */
const DELAY_MS = 1;

/** The databases of `stores.js`. */
const databases = { native: 1, 'connect-redis10': 2, 'connect-redis8': 3 };

/** Each session has a user of its own, whose number stands between the two parts of the text. */
const FILL = `
for number = ARGV[1], ARGV[2] do
  local text = ARGV[3] .. string.format('%012d', number) .. ARGV[4]
  redis.call('SET', 'sess:' .. string.format('%032d', number), text, 'EX', 86400)
end`;

/** Returns the parts of a session of 448 bytes, as in the comparison, before and after the last 12 digits of the user. */
function parts() {
  const content = contentOf('0.4 KB');
  const number = content.passport.user.slice(-12);
  return JSON.stringify(newSession({ sessionID: '' }, content)).split(number);
}

async function fill(redis, database, count) {
  await redis.command('SELECT', database);
  await redis.command('FLUSHDB');
  const [before, after] = parts();
  for (let number = 0; number < count; number += CHUNK)
    await redis.command('EVAL', FILL, 0, number, Math.min(number + CHUNK, count) - 1, before, after);
}

/** Returns how long Redis has run commands since `CONFIG RESETSTAT`, in seconds. */
async function atWork(redis) {
  const text = String(await redis.command('INFO', 'commandstats'));
  const times = [...text.matchAll(/cmdstat_(?:scan|get|mget|pttl|unlink|del|evalsha):calls=\d+,usec=(\d+)/g)];
  return times.reduce((sum, [, microseconds]) => sum + Number(microseconds), 0) / 1e6;
}

/** Returns the longest of the commands since `SLOWLOG RESET`, in ms. */
async function slowest(redis) {
  const entries = await redis.command('SLOWLOG', 'GET', -1);
  const times = entries.map(([, , microseconds, words]) => [microseconds / 1000, String(words[0])]);
  return times.sort(([one], [other]) => other - one)[0] ?? [0, 'none'];
}

async function measureBulk({ node, quick, out, stores: keys, server: name, program }) {
  const plan = quick ? QUICK : FULL;
  const server = await startRedis({ program });
  const redis = await connectRaw(server.port);
  const proxy = await startProxy(server.port);
  const measured = new Map();

  const measure = async (name, operation, key, url) => {
    const script = require.resolve('./bulk-process.js');
    const child = startChild(script, [key, url, plan.sessions], { node, execArgv: FLAGS });
    await redis.command('SLOWLOG', 'RESET');
    await redis.command('CONFIG', 'RESETSTAT');
    const result = await child.call('run', operation);
    const [longest, command] = await slowest(redis);
    await child.stop();
    const results = { ...result, longest, command, redis: await atWork(redis) };
    measured.set(name, [...(measured.get(name) ?? []), results]);
  };

  try {
    await redis.command('CONFIG', 'SET', 'slowlog-log-slower-than', 500);
    await redis.command('CONFIG', 'SET', 'slowlog-max-len', 100_000);
    proxy.delay({ request: DELAY_MS });
    for (let round = 0; round < plan.rounds; round++) {
      for (const key of keys) {
        await fill(redis, databases[key], plan.sessions);
        for (const operation of OPERATIONS) {
          if (OWN_OPERATIONS.includes(operation) && key !== 'native') continue;
          process.stderr.write(`round ${round + 1} of ${plan.rounds}: ${key}, ${operation}\n`);
          if (round === 0 && FAR_OPERATIONS.includes(operation))
            await measure(`${operation} ${key} far`, operation, key, proxy.url);
          await measure(`${operation} ${key}`, operation, key, server.url);
          // `clear` would read the keys of the indexes, too.
          if (operation === 'reindex') await fill(redis, databases[key], plan.sessions);
          if (operation === FAR_OPERATIONS[0] && key === 'native') {
            process.stderr.write(`round ${round + 1} of ${plan.rounds}: SCAN alone\n`);
            if (round === 0) await measure('alone far', 'alone', 'empty', proxy.url);
            await measure('alone', 'alone', 'empty', server.url);
          }
        }
        await redis.command('FLUSHDB');
      }
    }
    await measure('floor', 'floor', 'empty', server.url);
    console.log(`${name}. ${report(measured, keys, plan)}`);
    console.log(reportFar(measured, keys));
    if (out) {
      const results = {
        about: await machine(node, redis),
        sessions: plan.sessions,
        operations: worstStalls(measured),
      };
      writeChart(out, 'bulk', results, 'stalls', stalls);
    }
  } finally {
    await proxy.close();
    await redis.close();
    await server.stop();
  }
}

/** Returns the longest stall of each operation of a store, in ms, and the range over the rounds. */
function worstStalls(measured) {
  return [...measured].flatMap(([name, results]) => {
    const [operation, store, far] = name.split(' ');
    if (stores[store] === undefined || far !== undefined) return [];
    const times = results.map(({ stall }) => stall);
    const most = Math.max(...times);
    return [{ operation, store, stall: most, spread: { stall: [Math.min(...times), most] } }];
  });
}

/** Returns the worst of the rounds for each figure, but the best for the time. */
function report(measured, keys, { sessions, rounds }) {
  const worst = (results, figure) => Math.max(...results.map((result) => result[figure]));
  const best = (results, figure) => Math.min(...results.map((result) => result[figure]));
  const row = (operation, label, results) => {
    const failure = results.find((result) => result.failure)?.failure;
    const slow = results.reduce((one, other) => (other.longest > one.longest ? other : one));
    return [
      operation,
      label,
      failure ?? format(best(results, 'seconds'), 2),
      format(best(results, 'redis'), 2),
      `${format(worst(results, 'stall'), 1)} (${format(worst(results, 'busiest'), 1)})`,
      format(worst(results, 'growth') / 1e6, 1),
      `${format(slow.longest, 1)} (${slow.command})`,
    ];
  };
  const rows = OPERATIONS.flatMap((operation) =>
    keys
      .filter((key) => measured.has(`${operation} ${key}`))
      .map((key) => row(operation, stores[key].label, measured.get(`${operation} ${key}`))),
  );
  if (measured.has('alone')) rows.unshift(row('SCAN alone, raw', 'none', measured.get('alone')));
  rows.push(row('JSON.parse of as many texts, kept', 'none', measured.get('floor')));
  const head = [
    'operation',
    'store',
    'seconds',
    'Redis at work, s',
    'longest stall, ms',
    'memory growth, MB',
    'longest command, ms',
  ];
  return `${format(sessions, 0)} sessions of 448 bytes, ${rounds} rounds: the best time, the worst of the rest.\n\n${table(head, rows)}`;
}

function reportFar(measured, keys) {
  const row = (operation, label, [{ seconds, failure }]) => [operation, label, failure ?? format(seconds, 2)];
  const rows = FAR_OPERATIONS.flatMap((operation) =>
    keys.map((key) => row(operation, stores[key].label, measured.get(`${operation} ${key} far`))),
  );
  if (measured.has('alone far')) rows.unshift(row('SCAN alone, raw', 'none', measured.get('alone far')));
  return `\nThe same with Redis ${DELAY_MS} ms away:\n\n${table(['operation', 'store', 'seconds'], rows)}`;
}

module.exports = { measureBulk };
