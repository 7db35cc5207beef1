'use strict';

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');
const { createInterface } = require('node:readline');
const { freePort } = require('./redis.js');

/** More than twice what the demo allows requests and its stores to finish. */
const STOP_LIMIT_MS = 15_000;
const DEMO = path.join(__dirname, 'demo.js');

/**
 * Runs `npm run demo` in its own process and waits until it prints its address.
 *
 * @param {NodeJS.ProcessEnv} [env] variables to add
 * @returns `{ url, output, stop }`; `stop` sends the signal and returns the exit code, null if the signal ended it
 */
async function startDemo(env) {
  const demo = spawn(process.execPath, [DEMO], {
    env: { ...process.env, PORT: String(await freePort()), ...env },
    // Errors that it logs belong next to the caller's own output.
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(demo, 'exit');
  exited.then(([code]) => lines.emit('error', new Error(`The demo ended with code ${code}.`)));
  const lines = createInterface({ input: demo.stdout });
  const output = [];
  let url;
  while (!url) {
    const [line] = await once(lines, 'line');
    output.push(line);
    url = line.match(/^Open (http:\S+)/)?.[1];
  }
  lines.on('error', () => {}); // the end of a demo that has started is the caller's to notice
  return {
    url,
    output: output.join('\n'),
    async stop(signal = 'SIGTERM') {
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
