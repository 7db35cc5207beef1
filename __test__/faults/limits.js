'use strict';

const { HANG_MS } = require('../support/until.js');

/** Short, so that a fault soon lasts longer. */
const DEADLINE_MS = 1000;
/** Longer than a fault during which no operation may fail, however slow the machine is. */
const AMPLE_MS = HANG_MS;

const connectTimeout = 500;
/** Options of stores whose operations fail during a fault. */
const options = { commandTimeout: DEADLINE_MS, connectTimeout };
/** Options of stores whose operations succeed after a fault. */
const patient = { commandTimeout: AMPLE_MS, connectTimeout };

module.exports = { DEADLINE_MS, AMPLE_MS, options, patient };
