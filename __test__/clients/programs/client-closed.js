'use strict';

// Closes the client of an open store, which must then let the process end.

const Redis = require('ioredis');
const { createClient } = require('redis');
const { RedisStore } = require('../../..');

const make = {
  redis: (url) => createClient({ url }),
  ioredis: (url) => new Redis(url, { lazyConnect: true }),
};

async function main(kind, transport, url) {
  const client = make[kind](url);
  await client.connect();
  const store = new RedisStore({ client, transport });
  await store.get('nobody');
  await (client.quit ?? client.close).call(client);
  // An ioredis client answers before it has closed.
  while (store.status !== 'closed') await new Promise((resolve) => setImmediate(resolve));
  const { code } = await store.get('nobody').catch((error) => error);
  console.log(code);
}

main(...process.argv.slice(2));
