'use strict';

/** The longest delay of Node's timers, in ms. */
const LONGEST_DELAY_MS = 2 ** 31 - 1;
/** The largest unsigned 32-bit integer, the limit of some numbers of the addon. */
const LARGEST_U32 = 2 ** 32 - 1;

module.exports = { LONGEST_DELAY_MS, LARGEST_U32 };
