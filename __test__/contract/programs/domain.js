'use strict';

// Throws from callbacks within a domain of node:domain. Prints which handler received each error.

const domain = require('node:domain');
const { RedisStore } = require('../../..');

process.on('uncaughtException', ({ message }) => console.log(`uncaught ${message}`));

async function main(url) {
  const store = new RedisStore({ url });
  const cached = new RedisStore({ url, cache: true });
  await cached.set('abc', { cookie: {} });
  await cached.get('abc');
  const calls = [
    [store, 'get', 'abc'],
    [store, 'get', {}],
    [store, 'set', 'abc', { cookie: {} }],
    [store, 'touch', 'abc', { cookie: {} }],
    [store, 'destroy', 'abc'],
    [store, 'all'],
    [store, 'ids'],
    [store, 'length'],
    [store, 'clear'],
    [cached, 'get', 'abc'],
  ];
  for (const [target, method, ...args] of calls) {
    const own = domain.create();
    await new Promise((resolve) => {
      own.on('error', ({ message }) => {
        console.log(`domain ${message}`);
        resolve();
      });
      own.run(() =>
        target[method](...args, () => {
          throw new Error(`${method} ${process.domain === own}`);
        }),
      );
    });
  }
  await Promise.all([store.close(), cached.close()]);
}

main(process.argv[2]);
