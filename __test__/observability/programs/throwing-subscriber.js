'use strict';

// Arguments: the URL of a Redis. Prints how many subscribers have thrown, and the results of the operations.

const { RedisStore } = require('../../..');
const { recordTraces } = require('../traces.js');

const thrown = [];
const uncaught = [];
process.on('uncaughtException', ({ message }) => uncaught.push(message));

async function main() {
  recordTraces(undefined, ({ channel, event }) => {
    thrown.push(`${channel} ${event}`);
    throw new Error(`${channel} ${event}`);
  });
  const store = new RedisStore({ url: process.argv[2] });
  const results = [
    await store.set('abc', { user: 'ann' }),
    await store.get('abc'),
    await store.touch('abc', { user: 'ann' }),
    await store.length(),
    await store.destroy('abc'),
    await store.clear(),
    await store.get(null).catch(({ code }) => code),
  ];
  await store.close();
  console.log(
    JSON.stringify({ results, isReported: thrown.join() === uncaught.join(), count: thrown.length }),
  );
}

main();
