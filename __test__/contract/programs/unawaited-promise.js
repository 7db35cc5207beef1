'use strict';

// Calls a method that fails, in promise style, and drops the promise.

const { RedisStore } = require('../../..');

new RedisStore({ url: process.argv[2] }).get({});
