'use strict';

// Writes and reads a session of 100 MB, and waits until the memory that it took is given back.

const { RedisStore } = require('../../..');

const BYTES = 100e6;
const ENOUGH = BYTES / 2;

async function main(url) {
  const serializer = { stringify: ({ text }) => text, parse: (text) => ({ length: text.length }) };
  const store = new RedisStore({ url, serializer, commandTimeout: 20_000 });
  const taken = () => {
    globalThis.gc();
    return process.memoryUsage.rss();
  };
  await store.get('abc');
  const before = taken();
  await store.set('abc', { text: 'x'.repeat(BYTES) });
  if ((await store.get('abc')).length !== BYTES) throw new Error('another session');
  for (let tries = 0; tries < 100 && taken() > before + ENOUGH; tries++) await store.get('nobody');
  console.log(taken() < before + ENOUGH ? 'given back' : taken() - before);
}

main(process.argv[2]);
