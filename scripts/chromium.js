'use strict';

// The browser of the browser tests is the system's own: nothing is downloaded past the package manager.

const { findProgram, installProgram } = require('./programs.js');

/** Returns the path of a Chromium or Chrome, or null. */
function findChromium() {
  return findProgram('chromium', 'google-chrome', 'google-chrome-stable', 'chromium-browser');
}

/** Installs Chromium with the system's package manager; throws if that is impossible. */
function installChromium() {
  return installProgram(
    'Chromium',
    {
      'apt-get': ['chromium', 'chromium-browser'],
      dnf: ['chromium'],
      apk: ['chromium'],
      pacman: ['chromium'],
    },
    findChromium,
  );
}

module.exports = { findChromium, installChromium };
