'use strict';

// Saves and destroys a session; the listeners and the subscribers of the events throw. Prints the results of the
// operations, what was uncaught, and how often listeners were called.

const diagnostics = require('node:diagnostics_channel');
const { RedisStore } = require('../../..');

const [url] = process.argv.slice(2);
const store = new RedisStore({ url, onConflict: 'merge' });
const uncaught = [];
process.on('uncaughtException', ({ message }) => uncaught.push(message));

for (const name of ['created', 'destroyed']) {
  store.on(name, () => {
    throw new Error(`listener of ${name}`);
  });
  diagnostics.subscribe(`connect-redis-native:session:${name}`, () => {
    throw new Error(`subscriber to ${name}`);
  });
}

async function main() {
  const results = [
    await store.set('abc', { cookie: {} }),
    await store.destroy('abc'),
    await store.get('abc'),
  ];
  await store.close();
  console.log(JSON.stringify({ results, uncaught: uncaught.sort() }));
}

main();
