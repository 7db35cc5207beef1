'use strict';

const { RedisStore } = require('../../..');

const store = new RedisStore({ url: process.argv[2] });
store.get('abc', () => {});

process.on('exit', () => {
  store.get('abc', () => console.log('answered'));
  store.set('abc', { n: 1 });
  store.close();
  new RedisStore({ url: process.argv[2] }).get('abc', () => console.log('answered'));
  console.log('exiting');
});
