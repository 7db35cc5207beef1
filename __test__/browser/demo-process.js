'use strict';

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');
const { createInterface } = require('node:readline');

/** Twice what the demo allows requests and its store to finish. */
const STOP_LIMIT_MS = 15_000;
const SERVER = path.join(__dirname, '..', '..', 'examples', 'demo', 'server.js');

/**
 * Starts the demo's server in its own process and waits until it prints its address.
 *
 * @param {object} where
 * @param {string} where.redisUrl
 * @param {number} where.port
 * @returns `{ url, stop }`; `stop` sends the signal and returns the exit code, null if the signal ended it
 */
async function startDemo({ redisUrl, port }) {
  const demo = spawn(process.execPath, [SERVER], {
    env: { ...process.env, REDIS_URL: redisUrl, PORT: String(port) },
    // Errors that it logs belong next to the test's own output.
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(demo, 'exit');
  const lines = createInterface({ input: demo.stdout });
  const url = await Promise.race([
    once(lines, 'line').then(([line]) => line.match(/http:\S+/)[0]),
    exited.then(([code]) => {
      throw new Error(`The demo ended with code ${code} before it printed its address.`);
    }),
  ]);
  return {
    url,
    async stop(signal) {
      demo.kill(signal);
      // One that hangs must fail the test and not outlive it: it would keep jest from ending.
      const force = setTimeout(() => demo.kill('SIGKILL'), STOP_LIMIT_MS);
      const [code] = await exited;
      clearTimeout(force);
      return code;
    },
  };
}

module.exports = { startDemo };
