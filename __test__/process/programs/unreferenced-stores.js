'use strict';

// Creates twenty stores, one after the other, and drops each after a result. Ends when Redis has none of their
// connections any more.

const { createClient } = require('redis');
const { RedisStore } = require('../../..');
const { connectRaw } = require('../../support/redis.js');
const { until } = require('../../support/until.js');

async function main(source, port) {
  const url = `redis://127.0.0.1:${port}`;
  // Not connected, so that every connection that appears is a store's.
  const where = source === 'client' ? { client: createClient({ url }) } : { url };
  const raw = await connectRaw(Number(port));
  const connections = async () =>
    String(await raw.command('CLIENT', 'LIST'))
      .trim()
      .split('\n').length;
  const before = await connections();

  for (let n = 0; n < 20; n++) await new RedisStore(where).get('abc');
  if ((await connections()) === before) throw new Error('The stores made no connections.');

  await until(async () => {
    globalThis.gc();
    return (await connections()) === before;
  });
  console.log('no connections');
  await raw.close();
}

main(...process.argv.slice(2));
