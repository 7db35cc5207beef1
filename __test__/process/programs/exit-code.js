'use strict';

const { RedisStore } = require('../../..');

process.exitCode = 5;
new RedisStore({ url: process.argv[2] }).get('abc', () => console.log('answered'));
