'use strict';

// Counts the threads that the first store and forty-nine more start.

const { readdirSync } = require('node:fs');
const { RedisStore } = require('../../..');

const threads = () => readdirSync('/proc/self/task').length;

async function main(url) {
  const before = threads();
  await new RedisStore({ url }).get('abc');
  const withOne = threads();
  await Promise.all(Array.from({ length: 49 }, () => new RedisStore({ url }).get('abc')));
  console.log(`${withOne - before} more with one store, ${threads() - withOne} more with fifty`);
}

main(process.argv[2]);
