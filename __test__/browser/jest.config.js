'use strict';

module.exports = {
  testEnvironment: 'node',
  testMatch: ['<rootDir>/*.test.js'],
  testTimeout: 120_000,
  // As in the configuration of the other tests.
  cacheDirectory: '<rootDir>/../../node_modules/.cache/jest',
};
