'use strict';

// Finds the Node binary of a version, and fetches it where it is not there yet.

const { execFileSync } = require('node:child_process');
const { existsSync, mkdirSync } = require('node:fs');
const os = require('node:os');
const path = require('node:path');

/**
 * @param {string} [wanted] the path of a binary, or a version such as `24`, which is installed from npm into a
 *   cache in the system's folder for temporary files; by default the binary that runs this
 */
function nodeBinary(wanted) {
  if (wanted === undefined) return process.execPath;
  if (!/^\d+(\.\d+)*$/.test(wanted)) return path.resolve(wanted);

  const name = `node-${process.platform}-${process.arch}`;
  const folder = path.join(os.tmpdir(), 'connect-redis-native', `node-${wanted}`);
  const binary = path.join(folder, 'node_modules', name, 'bin', 'node');
  if (!existsSync(binary)) {
    mkdirSync(folder, { recursive: true });
    execFileSync('npm', ['install', '--no-audit', '--no-fund', '--prefix', folder, `${name}@${wanted}`], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  }
  return binary;
}

module.exports = { nodeBinary };
