'use strict';

const { fork } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');

const PROGRAM = path.join(__dirname, 'programs/debug-log.js');
/** The start of each line: the section of NODE_DEBUG and the process. */
const START = /^CONNECT-REDIS-NATIVE \d+: /;

/** A process with a store, which prints the debug log if NODE_DEBUG is `section`. */
class LoggingProcess {
  #child;
  stderr = '';

  constructor(section = 'connect-redis-native') {
    const env = { ...process.env, NODE_DEBUG: section };
    this.#child = fork(PROGRAM, { env, stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    this.#child.stderr.setEncoding('utf8').on('data', (text) => {
      this.stderr += text;
    });
  }

  /** The lines printed so far, without their start. */
  get lines() {
    return this.stderr
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => {
        if (!START.test(line)) throw new Error(`Not a line of the debug log: ${line}`);
        return line.replace(START, '');
      });
  }

  /** Returns true if the log has a line that matches. */
  has(pattern) {
    return this.lines.some((line) => pattern.test(line));
  }

  async #run(step, facts = {}) {
    const answered = once(this.#child, 'message');
    this.#child.send({ step, ...facts });
    const [{ result, error }] = await answered;
    if (error !== undefined) throw new Error(error);
    return result;
  }

  /** Opens the store; with `kind` and `port`, on a client of the app. */
  open(options) {
    return this.#run('open', options);
  }

  call(method, ...args) {
    return this.#run('call', { method, args });
  }

  status() {
    return this.#run('status');
  }

  /** Closes the store, and resolves when the process has ended. */
  async close() {
    const ended = once(this.#child, 'close');
    await this.#run('close');
    await ended;
  }

  kill() {
    this.#child.kill('SIGKILL');
  }
}

module.exports = { LoggingProcess };
