'use strict';

// Makes stores whose commands run on one client, and drops each after an operation and half a scan. Ends when the
// client has the listeners that it had before.

const { createClient } = require('redis');
const { RedisStore } = require('../../..');
const { until } = require('../../support/until.js');

async function useStore(client) {
  const store = new RedisStore({ client, transport: 'client' });
  await store.set('abc', { n: 1 });
  for await (const { id } of store.scan()) if (id === 'abc') break;
}

async function main(url) {
  const client = await createClient({ url }).connect();
  const listeners = () => client.eventNames().map((event) => [event, client.listenerCount(event)]);
  const before = JSON.stringify(listeners());
  for (let n = 0; n < 3; n++) await useStore(client);
  if (JSON.stringify(listeners()) === before) throw new Error('The stores have no listeners.');
  await until(() => {
    globalThis.gc();
    return JSON.stringify(listeners()) === before;
  });
  console.log('no listeners');
  await client.close();
}

main(process.argv[2]);
