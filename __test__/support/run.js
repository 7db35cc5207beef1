'use strict';

const { spawn } = require('node:child_process');
const { once } = require('node:events');

// A process that does not end is killed, so that the test fails by its signal rather than by a timeout.
const LIMIT_MS = 100_000;

/** Runs Node with these arguments, and returns how the process ended and what it printed. */
async function runNode(...args) {
  const child = spawn(process.execPath, args.map(String), { timeout: LIMIT_MS, killSignal: 'SIGKILL' });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
    stderr += text;
  });
  const [code, signal] = await once(child, 'close');
  return { code, signal, stdout: stdout.trim(), stderr };
}

/** Returns the result of a program that ended without an error and printed `stdout`. */
function endedWith(stdout) {
  return { code: 0, signal: null, stdout, stderr: '' };
}

module.exports = { runNode, endedWith };
