'use strict';

const { AsyncResource } = require('node:async_hooks');

/**
 * The async context in which this module was loaded, for what belongs to no operation. It must not be that of the
 * request that creates the first store. Destroyed at once, so that tools that detect open handles do not report it.
 */
const outside = new AsyncResource('RedisStore', { requireManualDestroy: true });
outside.emitDestroy();

module.exports = { outside };
