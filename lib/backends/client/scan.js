'use strict';

const { ScanKind } = require('../../boundary/outbox.js');
const { Kind } = require('../../boundary/request.js');
const { Command, readCommands } = require('./commands.js');
const { Failure } = require('./errors.js');
const { expiryOf } = require('./operations.js');

/** @import { AsyncResource } from 'node:async_hooks' */
/** @import { Completion, KeyScan } from '../../types.d.ts' */

/** The operations of the kinds of scans, in error messages. @type {Record<number, string>} */
const NAMES = { [ScanKind.IDS]: 'ids', [ScanKind.SESSIONS]: 'all', [ScanKind.SESSIONS_TIMED]: 'scan' };

/** The number of sessions that are read at once. */
const CHUNK_KEYS = 128;
/** The maximum number of `SCAN`s for one page. If few of the keys are sessions, a page ends before it is full. */
const PAGE_SCANS = 64;
/** The number of keys whose `UNLINK` commands are in flight at once. */
const KEYS_IN_FLIGHT = 4096;

/** An open scan of sessions, whose results are requested page by page. */
class Scan {
  #kind;
  #scan;
  #onEnd;
  /** The keys found, but not returned yet. @type {string[]} */
  #found = [];
  #isOver = false;
  /** When its first page was requested, or for `scan` its last one, by `elapsed`. */
  began = 0;

  /** @param {KeyScan} scan @param {number} kind @param {() => void} onEnd called after the last page */
  constructor(scan, kind, onEnd) {
    this.#scan = scan;
    this.#kind = kind;
    this.#onEnd = onEnd;
  }

  /** Identifies the scan in the requests for its pages. */
  get number() {
    return this;
  }

  get name() {
    return NAMES[this.#kind];
  }

  close() {
    this.#isOver = true;
  }

  /** Reports that the last page was delivered, if it was. */
  release() {
    if (!this.#isOver) return;
    this.#onEnd();
    this.#onEnd = () => {};
  }

  /** Reads the next page. @throws {Failure} @type {(scope: AsyncResource) => Promise<Completion[]>} */
  async nextPage(scope) {
    if (this.#isOver) return [[Kind.DONE, '']];
    this.#scan.scope = scope;
    try {
      const items = await (this.#kind === ScanKind.IDS ? this.#nextIds() : this.#nextSessions());
      this.#isOver ||= this.#found.length === 0 && this.#scan.isAtEnd;
      return [...items, [this.#isOver ? Kind.DONE : Kind.MORE, '']];
    } catch (error) {
      this.#isOver = true;
      throw error;
    }
  }

  /** @returns {Promise<Completion[]>} */
  async #nextIds() {
    await this.#find(1);
    return this.#found.splice(0).map((key) => [Kind.ID, this.#scan.keys.id(key)]);
  }

  async #nextSessions() {
    await this.#find(CHUNK_KEYS);
    const keys = this.#found.splice(0, CHUNK_KEYS);
    const commands = keys.flatMap((key) => readCommands(this.#scan.keys.sent(key)));
    const replies = keys.length > 0 ? await this.#scan.query(commands) : [];
    return keys.flatMap((key, index) => this.#itemsOf(key, replies[2 * index], replies[2 * index + 1]));
  }

  /** Scans until there are enough keys, or the page has taken its maximum number of `SCAN`s. @param {number} enough */
  async #find(enough) {
    for (let scans = 0; scans < PAGE_SCANS; scans++) {
      if (this.#found.length >= enough || this.#scan.isAtEnd) return;
      for (const key of await this.#scan.nextNew()) this.#found.push(key);
    }
  }

  /**
   * Returns the completions for a session; none if it was deleted since its key was found, or is no string.
   *
   * @type {(key: string, text: unknown, left: unknown) => Completion[]}
   */
  #itemsOf(key, text, left) {
    if (text instanceof Failure && text.reply !== 'WRONGTYPE') throw text;
    if (typeof text !== 'string') return [];
    return [
      [Kind.ID, this.#scan.keys.id(key)],
      [Kind.ITEM, text, expiryOf(left)],
    ];
  }
}

/**
 * Counts the sessions.
 *
 * @throws {Failure}
 * @type {(scan: KeyScan, isAborted: () => boolean) => Promise<number>}
 */
async function count(scan, isAborted) {
  let found = 0;
  while (!scan.isAtEnd && !isAborted()) found += (await scan.nextNew()).length;
  return found;
}

/**
 * Deletes all sessions. Each key has a command of its own: the client may be that of a cluster.
 *
 * @throws {Failure}
 * @type {(scan: KeyScan, isAborted: () => boolean) => Promise<number>}
 */
async function clear(scan, isAborted) {
  while (!scan.isAtEnd && !isAborted()) {
    const found = await scan.next();
    while (found.length > 0 && !isAborted()) {
      const keys = found.splice(0, KEYS_IN_FLIGHT);
      const replies = await scan.query(keys.map((key) => new Command(['UNLINK', scan.keys.sent(key)])));
      const failure = replies.find((reply) => reply instanceof Failure);
      if (failure !== undefined) throw failure;
    }
  }
  return 0;
}

module.exports = { Scan, count, clear };
