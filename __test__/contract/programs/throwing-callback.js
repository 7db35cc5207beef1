'use strict';

// Calls a method of a store `count` times in one tick; the callback of call number `thrower` throws. Prints how many
// were called exactly once, what was uncaught, and whether the store still works. With the transport 'client', commands
// run on a client of redis.

const redis = require('redis');
const { RedisStore } = require('../../..');

const [url, method, count, thrower, transport] = process.argv.slice(2);
const session = { user: 'ann' };
const args = { get: ['abc'], set: ['abc', session], touch: ['abc', session], destroy: ['abc'] }[method] ?? [];

const client = transport === 'client' ? redis.createClient({ url }) : undefined;
client?.connect();
const store = new RedisStore(client ? { client, transport } : { url });
const calls = Array(Number(count)).fill(0);
const uncaught = [];
process.on('uncaughtException', (error) => {
  uncaught.push(error.message);
  endWhenAllWereCalled();
});

for (const number of calls.keys()) {
  store[method](...args, () => {
    calls[number] += 1;
    if (number === Number(thrower)) throw new Error('thrown by the callback');
    endWhenAllWereCalled();
  });
}

let ending = false;
function endWhenAllWereCalled() {
  if (ending || uncaught.length === 0 || calls.includes(0)) return;
  ending = true;
  // In a later turn of the event loop, when a second call would have come.
  setImmediate(end);
}

async function end() {
  await store.set('later', session);
  const worksAfterwards = (await store.get('later')).user === 'ann';
  const calledOnce = calls.filter((times) => times === 1).length;
  console.log(JSON.stringify({ calledOnce, uncaught, worksAfterwards }));
  await store.close();
  await client?.close();
}
