'use strict';

/** The longest delay of Node's timers, in ms. */
const LONGEST_DELAY_MS = 2 ** 31 - 1;
/** The largest unsigned 32-bit integer, the limit of some numbers of the addon. */
const LARGEST_U32 = 2 ** 32 - 1;
/** The longest lifetime, beyond which milliseconds are not exact: about 285,000 years. Redis's own limit is higher. */
const LONGEST_SECONDS = Number.MAX_SAFE_INTEGER / 1000;

module.exports = { LONGEST_DELAY_MS, LARGEST_U32, LONGEST_SECONDS };
