'use strict';

const { readFileSync } = require('node:fs');

/** Returns the number of threads of this process; only Linux has the file. */
function countThreads() {
  try {
    return /^Threads:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))[1];
  } catch {
    return 'unknown';
  }
}

module.exports = { countThreads };
