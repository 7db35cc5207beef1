'use strict';

const { performance } = require('node:perf_hooks');
const { clearTimeout, setImmediate, setTimeout } = require('node:timers');

const { nextTick } = process;
/** Milliseconds by a clock that nobody sets: for how long something takes. */
const elapsed = performance.now.bind(performance);

/**
 * Node's own timers and clock, as they are when this module is loaded. Test runners put others in their place that
 * stand still until the test has them go on: no answer of Redis waits for that.
 */
module.exports = { clearTimeout, elapsed, nextTick, setImmediate, setTimeout };
