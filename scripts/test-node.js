'use strict';

// npm run test:node: the tests of the package's behaviour, under each supported version of Node; with versions as
// arguments, under those.

const { nodeBinary } = require('./node-binary.js');
const { report, runJest } = require('./jest.js');
const { setUp } = require('./setup.js');

const VERSIONS = ['20', '22', '24', '26'];
// The same under every Node: the packed files, the types, the demo's pages.
const LEFT_OUT = ['/node_modules/', '__test__/packaging/', '__test__/types/', '__test__/browser/'];

async function main() {
  await setUp({ everyServer: true });
  const versions = process.argv.slice(2);
  report(
    (versions.length > 0 ? versions : VERSIONS).map((version) => {
      const counts = runJest(['--testPathIgnorePatterns', ...LEFT_OUT], { node: nodeBinary(version) });
      console.log(`Node ${version}: ${counts.passed} passed, ${counts.failed} failed`);
      return counts;
    }),
  );
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
