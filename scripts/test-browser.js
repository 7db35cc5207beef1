'use strict';

// npm run test:browser: set-up, Chromium, and the tests that use the demo in it. Arguments go to jest.

const { findChromium, installChromium } = require('./chromium.js');
const { report, runJest } = require('./jest.js');
const { setUp } = require('./setup.js');

setUp()
  .then(() => {
    const CHROMIUM = findChromium() ?? installChromium();
    report([
      runJest(['--config', '__test__/browser/jest.config.js', ...process.argv.slice(2)], { CHROMIUM }),
    ]);
  })
  .catch((error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
