'use strict';

/** The number of removed entries from which on the others move to the front. */
const MAX_REMOVED = 1024;

/** Commands that wait to be sent, in the order in which the app issued them. */
class CommandQueue {
  /** The entries before `#first` were removed, and those of jobs that are over do not wait any more. */
  #commands = [];
  #first = 0;
  /** Commands to send again, which are not in the list yet. */
  #retries = [];
  /** The number of operations that begin with a waiting command. */
  operations = 0;

  push(command) {
    this.#commands.push(command);
    this.#setWaiting(command, true);
  }

  /** Queues a command that was sent before, in its former place. */
  retry(command) {
    this.#retries.push(command);
    this.#setWaiting(command, true);
  }

  /** Removes the commands of a job that is over. */
  drop(job) {
    for (const command of job.commands) this.#setWaiting(command, false);
  }

  get isEmpty() {
    return this.#peek() === undefined;
  }

  /** Removes and returns the first command; undefined if there is none. */
  shift() {
    const command = this.#peek();
    if (command === undefined) return undefined;
    this.#first++;
    this.#setWaiting(command, false);
    return command;
  }

  #peek() {
    if (this.#retries.length > 0) {
      this.#commands = this.#retries
        .concat(this.#commands.slice(this.#first))
        .sort((a, b) => a.order - b.order);
      this.#retries = [];
      this.#first = 0;
    }
    while (this.#first < this.#commands.length && !this.#commands[this.#first].isWaiting) this.#first++;
    const isEmpty = this.#first === this.#commands.length;
    if (isEmpty || this.#first >= MAX_REMOVED) {
      this.#commands.splice(0, this.#first);
      this.#first = 0;
    }
    return this.#commands[this.#first];
  }

  #setWaiting(command, isWaiting) {
    if (command.isWaiting === isWaiting) return;
    command.isWaiting = isWaiting;
    if (command.index === 0) this.operations += isWaiting ? 1 : -1;
  }
}

module.exports = { CommandQueue };
