'use strict';

// Calls another operation twice when the event loop is empty.

const { RedisStore } = require('../../..');

const store = new RedisStore({ url: process.argv[2] });
const answers = [];

process.on('beforeExit', () => {
  if (answers.length < 2) store.get('abc', () => answers.push('answered'));
});
process.on('exit', () => console.log(answers.join(' ')));
