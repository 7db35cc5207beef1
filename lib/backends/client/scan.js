'use strict';

const { ScanKind } = require('../../boundary/outbox.js');
const { Kind } = require('../../boundary/request.js');
const { Command, readCommands } = require('./commands.js');
const { Failure } = require('./errors.js');
const { KeyScan } = require('./key-scan.js');
const { expiryOf } = require('./operations.js');

/** @import { AsyncResource } from 'node:async_hooks' */
/** @import { Completion, Executor, Keys } from '../../types.d.ts' */

/** The operations of the kinds of scans, in error messages. @type {Record<number, string>} */
const NAMES = { [ScanKind.IDS]: 'ids', [ScanKind.SESSIONS]: 'all', [ScanKind.SESSIONS_TIMED]: 'scan' };

/**
 * @typedef {(executor: Executor, keys: Keys, scanCount: number, scope: AsyncResource) => Promise<number | void>} Walk
 */

/** The number of sessions that are read at once. */
const CHUNK_KEYS = 128;
/** The maximum number of `SCAN`s for one page. If few of the keys are sessions, a page ends before it is full. */
const PAGE_SCANS = 64;
/** The number of keys whose `UNLINK` commands are in flight at once. */
const KEYS_IN_FLIGHT = 4096;

/** An open scan of sessions, whose results are requested page by page. */
class Scan {
  #executor;
  #keys;
  #kind;
  #scan;
  /** The keys found, but not returned yet. @type {string[]} */
  #found = [];
  #isOver = false;
  /** @type {(() => void) | undefined} */
  #onOver;

  /**
   * @param {Executor} executor
   * @param {Keys} keys
   * @param {number} kind
   * @param {string} match
   * @param {number} count
   * @param {() => void} onOver called when the scan is over
   */
  constructor(executor, keys, kind, match, count, onOver) {
    this.#onOver = onOver;
    this.#executor = executor;
    this.#keys = keys;
    this.#kind = kind;
    this.#scan = new KeyScan(executor, keys, match, count);
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
    this.#onOver?.();
    this.#onOver = undefined;
  }

  /**
   * Reads the next page. Returns its completions.
   *
   * @param {AsyncResource} scope
   * @returns {Promise<Completion[]>}
   * @throws {Failure}
   */
  async nextPage(scope) {
    if (this.#isOver) return [[Kind.DONE, '']];
    try {
      const items =
        this.#kind === ScanKind.IDS ? await this.#nextIds(scope) : await this.#nextSessions(scope);
      this.#isOver ||= this.#found.length === 0 && this.#scan.isAtEnd;
      return [...items, [this.#isOver ? Kind.DONE : Kind.MORE, '']];
    } catch (error) {
      this.#isOver = true;
      throw error;
    }
  }

  /** @param {AsyncResource} scope @returns {Promise<Completion[]>} */
  async #nextIds(scope) {
    await this.#find(1, scope);
    return this.#found.splice(0).map((key) => [Kind.ID, this.#keys.id(key)]);
  }

  /** @param {AsyncResource} scope @returns {Promise<Completion[]>} */
  async #nextSessions(scope) {
    await this.#find(CHUNK_KEYS, scope);
    const keys = this.#found.splice(0, CHUNK_KEYS);
    if (keys.length === 0) return [];
    const replies = await this.#executor.query(
      scope,
      keys.flatMap((key) => readCommands(this.#keys.sent(key))),
    );
    return keys.flatMap((key, index) => this.#itemsOf(key, replies[2 * index], replies[2 * index + 1]));
  }

  /**
   * Scans until there are enough keys, the scan ends, or the page has taken its maximum number of `SCAN`s.
   *
   * @param {number} enough
   * @param {AsyncResource} scope
   */
  async #find(enough, scope) {
    for (let scans = 0; scans < PAGE_SCANS; scans++) {
      if (this.#found.length >= enough || this.#scan.isAtEnd) return;
      for (const key of await this.#scan.nextNew(scope)) this.#found.push(key);
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
      [Kind.ID, this.#keys.id(key)],
      [Kind.ITEM, text, expiryOf(left)],
    ];
  }
}

/** Counts the sessions. @throws {Failure} @type {Walk} */
async function count(executor, keys, scanCount, scope) {
  const scan = new KeyScan(executor, keys, '*', scanCount);
  let found = 0;
  while (!scan.isAtEnd) found += (await scan.nextNew(scope)).length;
  return found;
}

/**
 * Deletes all sessions. Each key has a command of its own: the client may be that of a cluster.
 *
 * @throws {Failure}
 * @type {Walk}
 */
async function clear(executor, keys, scanCount, scope) {
  const scan = new KeyScan(executor, keys, '*', scanCount);
  while (!scan.isAtEnd) {
    const found = await scan.next(scope);
    while (found.length > 0) {
      const commands = found.splice(0, KEYS_IN_FLIGHT).map((key) => new Command(['UNLINK', keys.sent(key)]));
      const failure = (await executor.query(scope, commands)).find((reply) => reply instanceof Failure);
      if (failure !== undefined) throw failure;
    }
  }
}

module.exports = { Scan, count, clear };
