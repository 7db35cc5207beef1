'use strict';

module.exports = {
  testEnvironment: 'node',
  testMatch: ['<rootDir>/__test__/**/*.test.js'],
  // The browser has a run of its own: npm run test:browser.
  testPathIgnorePatterns: ['/node_modules/', '/__test__/browser/'],
  // They need a browser; `npm run test:browser` runs them.
  testPathIgnorePatterns: ['/node_modules/', '<rootDir>/__test__/browser/'],
  testTimeout: 30_000,
  maxWorkers: 2,
};
