'use strict';

// Begins a scan, takes one session, and neither continues nor closes it.

const { RedisStore } = require('../../..');

const store = new RedisStore({ url: process.argv[2] });
const sessions = store.scan();
sessions.next().then(({ value }) => console.log(value.session ? 'one' : 'none'));
