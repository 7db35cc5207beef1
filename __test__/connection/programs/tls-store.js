'use strict';

// Uses a store on a server with TLS, with the settings of a URL or of a connected client only.

const Redis = require('ioredis');
const { createClient } = require('redis');
const { RedisStore } = require('../../..');

const clients = {
  redis: (url) => createClient({ url }),
  ioredis: (url) => new Redis(url, { lazyConnect: true }),
};

async function main(source, url) {
  const client = await clients[source]?.(url);
  await client?.connect();
  const store = new RedisStore(client ? { client } : { url });
  await store.get('nobody');
  console.log(store.transport);
  await store.close();
  client?.disconnect?.();
}

main(...process.argv.slice(2));
