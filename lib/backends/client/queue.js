'use strict';

/** @import { Command, Job } from '../../types.d.ts' */

/** Commands that wait to be sent, in the order in which the app issued them. */
class CommandQueue {
  /** @type {Command[]} */
  #commands = [];
  /** Commands were added in front of others. */
  #isUnsorted = false;
  /** The number of operations that begin with a waiting command. */
  operations = 0;

  /** @param {Command} command */
  push(command) {
    this.#commands.push(command);
    this.#setWaiting(command, true);
  }

  /** Queues a command that was sent before, in its former place. @param {Command} command */
  retry(command) {
    this.push(command);
    this.#isUnsorted = true;
  }

  /** Removes the commands of a job that is over. @param {Job} job */
  drop(job) {
    for (const command of job.commands) this.#setWaiting(command, false);
  }

  get isEmpty() {
    const commands = this.#commands;
    if (this.#isUnsorted) commands.sort((one, other) => one.order - other.order);
    this.#isUnsorted = false;
    while (commands.length > 0 && !commands[0].isWaiting) commands.shift();
    return commands.length === 0;
  }

  /**
   * Removes and returns the first commands, up to a number of them and of UTF-16 units of their values.
   *
   * @param {number} most
   */
  take(most, units = Number.POSITIVE_INFINITY) {
    const taken = [];
    for (let length = 0; taken.length < most && length < units && !this.isEmpty; ) {
      const command = /** @type {Command} */ (this.#commands.shift());
      this.#setWaiting(command, false);
      taken.push(command);
      length += command.words[2]?.length ?? 0;
    }
    return taken;
  }

  /** @param {Command} command @param {boolean} isWaiting */
  #setWaiting(command, isWaiting) {
    if (command.isWaiting === isWaiting) return;
    command.isWaiting = isWaiting;
    if (command.index === 0) this.operations += isWaiting ? 1 : -1;
  }
}

module.exports = { CommandQueue };
