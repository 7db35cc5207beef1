'use strict';

// The browser of the browser tests is the system's own: nothing is downloaded past the package manager.

const { findProgram, installProgram } = require('./programs.js');

const ARGS = [
  '--headless',
  '--no-sandbox', // Chromium refuses its sandbox to root, the user of containers
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

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

/** Starts Chromium without a window. Loads playwright-core, which a fresh clone does not have before the set-up. */
function launchChromium(executablePath) {
  const { chromium } = require('playwright-core');
  return chromium.launch({ executablePath, args: ARGS });
}

module.exports = { findChromium, installChromium, launchChromium };
