'use strict';

module.exports = {
  testEnvironment: 'node',
  testMatch: ['<rootDir>/__test__/**/*.test.js'],
  // They need a browser; `npm run test:browser` runs them.
  testPathIgnorePatterns: ['/node_modules/', '<rootDir>/__test__/browser/'],
  // Only a hang takes this long, also on a machine that is busy.
  testTimeout: 120_000,
  maxWorkers: 2,
  // Not in the system's folder for temporary files, where the default has a name that another user can take.
  cacheDirectory: '<rootDir>/node_modules/.cache/jest',
};
