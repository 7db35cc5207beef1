'use strict';

/** Short, so that the faults that last longer can be short, too. */
const DEADLINE_MS = 1000;

/** Options of the stores under fault. */
const options = { commandTimeout: DEADLINE_MS, connectTimeout: 500 };

module.exports = { DEADLINE_MS, options };
