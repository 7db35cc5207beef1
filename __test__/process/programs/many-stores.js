'use strict';

// Creates as many stores on one client as an app with many tenants does.

const { createClient } = require('redis');
const { RedisStore } = require('../../..');

async function main(url) {
  const client = createClient({ url });
  const stores = Array.from({ length: 30 }, (_, n) => new RedisStore({ client, prefix: `tenant-${n}:` }));
  await Promise.all(stores.map((store, n) => store.set('abc', { n })));
  console.log((await Promise.all(stores.map((store) => store.get('abc')))).map(({ n }) => n).join());
}

main(process.argv[2]);
