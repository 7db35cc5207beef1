'use strict';

module.exports = {
  testEnvironment: 'node',
  testMatch: ['<rootDir>/*.test.js'],
  testTimeout: 60_000,
};
