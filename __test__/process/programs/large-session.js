'use strict';

// Writes and reads a session of 100 MB, and waits until its memory is freed.

const { RedisStore } = require('../../..');
const { HANG_MS, until } = require('../../support/until.js');

const BYTES = 100e6;
const ENOUGH = BYTES / 2;

async function main(url) {
  const serializer = { stringify: ({ text }) => text, parse: (text) => ({ length: text.length }) };
  const store = new RedisStore({ url, serializer, commandTimeout: HANG_MS });
  const memory = () => {
    globalThis.gc();
    return process.memoryUsage.rss();
  };
  await store.get('abc');
  const before = memory();
  await store.set('abc', { text: 'x'.repeat(BYTES) });
  if ((await store.get('abc')).length !== BYTES) throw new Error('another session');
  await until(async () => {
    // The memory of a result is freed with the next one.
    await store.get('nobody');
    return memory() < before + ENOUGH;
  });
  console.log('freed');
}

main(process.argv[2]);
