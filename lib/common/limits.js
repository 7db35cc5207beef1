'use strict';

/** The longest delay of Node's timers. */
const LONGEST_DELAY_MS = 2 ** 31 - 1;
/** The largest number where the addon takes one of 32 bits. */
const LARGEST_U32 = 2 ** 32 - 1;

module.exports = { LONGEST_DELAY_MS, LARGEST_U32 };
