'use strict';

const { findServers } = require('../../scripts/servers.js');

/**
 * Describes something once for every server to test on, as `describe.each` does: `body` receives the server's name
 * and binary. A server that is not installed is skipped, which is printed; in CI, where all of them must be installed,
 * it is a failure.
 */
function describeServers(title, body) {
  for (const { name, program } of findServers()) {
    const named = title.replace('%s', name);
    if (program !== null) describe(named, () => body(name, program));
    else if (process.env.CI)
      test(named, () => {
        throw new Error(`${name} is not installed; \`node scripts/servers.js\` says why.`);
      });
    else test.skip(named, () => {});
  }
}

module.exports = { describeServers };
