'use strict';

/** @import { Command } from '../../types.d.ts' */

/** Commands that wait to be sent, in the order of their operations. */
class CommandQueue {
  /** @type {Command[]} */
  #commands = [];
  /** The index of the first command. `shift` would move all others, which takes long if there are many. */
  #first = 0;
  #isSorted = true;

  /** Queues a command in its place in the order, which is not the end if it was sent before. @param {Command} command */
  push(command) {
    const last = this.#commands.at(-1);
    if (last !== undefined && last.order > command.order) this.#isSorted = false;
    this.#commands.push(command);
  }

  /** Drops commands whose job is over from the front. */
  get isEmpty() {
    if (!this.#isSorted) {
      this.#removeTaken();
      this.#commands.sort((one, other) => one.order - other.order);
      this.#isSorted = true;
    }
    while (this.#commands[this.#first]?.job.isOver) this.#first++;
    // Moves at most as many commands as were taken since the last time.
    if (2 * this.#first >= this.#commands.length) this.#removeTaken();
    return this.#commands.length === 0;
  }

  /** The number of commands, at most: the jobs of some may be over. */
  get length() {
    return this.#commands.length - this.#first;
  }

  #removeTaken() {
    this.#commands.splice(0, this.#first);
    this.#first = 0;
  }

  /** Removes and returns the first commands, up to a number of them and of UTF-16 units of their values. */
  take(count = 1, units = Number.POSITIVE_INFINITY) {
    const taken = [];
    for (let length = 0; taken.length < count && length < units && !this.isEmpty; ) {
      const command = this.#commands[this.#first++];
      taken.push(command);
      length += command.words[2]?.length ?? 0;
    }
    return taken;
  }
}

module.exports = { CommandQueue };
