'use strict';

const { performance } = require('node:perf_hooks');
const { clearTimeout, setImmediate, setTimeout } = require('node:timers');

/**
 * A test runner may have put its own there already, as jest does with `enableGlobally`; it has a `clock`. There is no
 * other way to Node's, so a turn of the event loop has to do.
 */
const nextTick = process.nextTick.clock === undefined ? process.nextTick : setImmediate;
/** Milliseconds by a clock that nobody sets: for how long something takes. */
const elapsed = performance.now.bind(performance);

/**
 * Node's own timers and clock, as they are when this module is loaded. Test runners put others in their place that
 * stand still until the test has them go on: no answer of Redis waits for that.
 */
module.exports = { clearTimeout, elapsed, nextTick, setImmediate, setTimeout };
