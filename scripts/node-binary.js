'use strict';

// Finds the Node binary of a version, and fetches it if it is missing.

const path = require('node:path');
const { npmBinary } = require('./npm-binary.js');

/**
 * @param {string} [wanted] the path of a binary, or a version such as `24`, which is installed from npm; by default the
 * binary that runs this
 */
function nodeBinary(wanted) {
  if (wanted === undefined) return process.execPath;
  if (!/^\d+(\.\d+)*$/.test(wanted)) return path.resolve(wanted);
  return npmBinary(`node-${process.platform}-${process.arch}`, wanted, path.join('bin', 'node'));
}

module.exports = { nodeBinary };
