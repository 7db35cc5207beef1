'use strict';

// Begins to walk over all sessions, takes one, and neither goes on nor leaves.

const { RedisStore } = require('../../..');

const store = new RedisStore({ url: process.argv[2] });
const sessions = store.scan();
sessions.next().then(({ value }) => console.log(value.session ? 'one' : 'none'));
