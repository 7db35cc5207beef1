'use strict';

module.exports = {
  testEnvironment: 'node',
  testMatch: ['<rootDir>/*.test.js'],
  testTimeout: 120_000,
};
