'use strict';

// npm run test:browser: set-up, Chromium, and the tests that use the demo in it. Arguments go to jest.

const { findChromium, installChromium } = require('./chromium.js');
const { report, runJest } = require('./jest.js');
const { setUp } = require('./setup.js');

const CONFIG = '__test__/browser/jest.config.js';

async function main() {
  await setUp();
  const CHROMIUM = findChromium() ?? installChromium();
  report([runJest(['--config', CONFIG, ...process.argv.slice(2)], { env: { CHROMIUM } })]);
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
