'use strict';

const { clearTimeout, setImmediate, setTimeout } = require('node:timers');

const { nextTick } = process;

/**
 * Node's own timers, as they are when this module is loaded. Test runners put others in their place that stand still
 * until the test has them go on: no answer of Redis waits for that.
 */
module.exports = { clearTimeout, nextTick, setImmediate, setTimeout };
