'use strict';

/** The longest delay of Node's timers, in ms. */
const LONGEST_DELAY_MS = 2 ** 31 - 1;
/** The largest unsigned 32-bit integer, the limit of some numbers of the addon. */
const LARGEST_U32 = 2 ** 32 - 1;
/** The default timeout of operations in ms, unless the app or its client sets one; the addon has the same. */
const COMMAND_TIMEOUT = 5000;
/** The default limit of operations that wait for a connection; the addon has the same. */
const MAX_QUEUE = 20_000;

module.exports = { LONGEST_DELAY_MS, LARGEST_U32, COMMAND_TIMEOUT, MAX_QUEUE };
