'use strict';

// Writes and reads a session of 100 MB, and waits until its memory is freed.

const { RedisStore } = require('../../..');

const BYTES = 100e6;
const ENOUGH = BYTES / 2;

async function main(url) {
  const serializer = { stringify: ({ text }) => text, parse: (text) => ({ length: text.length }) };
  const store = new RedisStore({ url, serializer, commandTimeout: 20_000 });
  const memory = () => {
    globalThis.gc();
    return process.memoryUsage.rss();
  };
  await store.get('abc');
  const before = memory();
  await store.set('abc', { text: 'x'.repeat(BYTES) });
  if ((await store.get('abc')).length !== BYTES) throw new Error('another session');
  for (let tries = 0; tries < 100 && memory() > before + ENOUGH; tries++) await store.get('nobody');
  console.log(memory() < before + ENOUGH ? 'freed' : memory() - before);
}

main(process.argv[2]);
