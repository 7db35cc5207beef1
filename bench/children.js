'use strict';

// Calls functions of child processes, over Node's channel between parent and child.

const { fork } = require('node:child_process');
const { once } = require('node:events');

/** Starts a script under a Node binary. */
function startChild(script, args, { node, execArgv = [] }) {
  return new Child(fork(script, args, { execPath: node, execArgv }));
}

class Child {
  #process;
  #calls = new Map();
  #lastId = 0;

  constructor(child) {
    this.#process = child;
    child.on('message', ({ id, result, error }) => {
      const { resolve, reject } = this.#calls.get(id);
      this.#calls.delete(id);
      if (error === undefined) resolve(result);
      else reject(new Error(`In a child process: ${error}`));
    });
    child.on('exit', (code, signal) => {
      for (const { reject } of this.#calls.values()) {
        reject(new Error(`A child process (${child.spawnargs.slice(1).join(' ')}) ended: ${signal ?? code}`));
      }
    });
  }

  /** Calls a function that the child serves. */
  call(method, argument) {
    return new Promise((resolve, reject) => {
      const id = ++this.#lastId;
      this.#calls.set(id, { resolve, reject });
      this.#process.send({ id, method, argument }, (error) => error && reject(error));
    });
  }

  /** Kills the child, as a crash would. Pending calls reject. */
  async kill() {
    const exited = once(this.#process, 'exit');
    if (this.#process.kill('SIGKILL')) await exited;
  }

  /** Disconnects from the child, which then ends by itself. */
  async stop() {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const exited = once(this.#process, 'exit');
    if (this.#process.connected) this.#process.disconnect();
    await exited;
  }
}

/** In the child: serves functions to the parent, and ends the process when the parent disconnects or ends. */
function serve(methods) {
  process.on('message', async ({ id, method, argument }) => {
    try {
      process.send({ id, result: await methods[method](argument) });
    } catch (error) {
      process.send({ id, error: error.stack });
    }
  });
  process.on('disconnect', () => process.exit());
}

module.exports = { startChild, serve };
