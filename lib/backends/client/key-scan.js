'use strict';

const { outside } = require('../../common/outside.js');
const { elapsed, setTimeout } = require('../../common/timers.js');
const { Command } = require('./commands.js');
const { Failure, failures } = require('./errors.js');

/** @import { Command as Sent, Executor, Failure as Failed, Keys, Pin, Words } from '../../types.d.ts' */

const START = '0';
/** The maximum number of passes. `n` passes find every key that moved at most `n - 1` times during the scan. */
const MAX_PASSES = 5;
/** The maximum number of restarts: a scan over a connection that is lost more often cannot be completed. */
const MAX_RESTARTS = 10;
/** The pause in ms before a failed cluster node is tried again. */
const RESTART_PAUSE = 100;
/** Keys are deduplicated in this many sets, so that the growth of one takes little time. */
const SHARDS = 256;

const pause = (/** @type {number} */ ms) =>
  new Promise((resolve) => setTimeout(() => resolve(undefined), ms));

/** The keys that a scan has returned: `SCAN` may return a key several times. */
class SeenKeys {
  /** @type {Set<string>[]} */
  #shards = Array.from({ length: SHARDS }, () => new Set());

  /** Returns true if the key is new. @param {string} key */
  add(key) {
    const end = key.length;
    const shard = this.#shards[(31 * key.charCodeAt(end - 1) + key.charCodeAt(end - 2)) & (SHARDS - 1)];
    const { size } = shard;
    return shard.add(key).size > size;
  }
}

/**
 * Iterates over all keys under a prefix by `SCAN`, one node after the other.
 *
 * A cursor is valid only for the server process that returned it. Therefore the commands that scan a node are pinned to
 * one connection of the client, and the run ID of the process, if the server reports it, is compared before and after:
 * the client may reconnect unnoticed. If the process changed, the scan of that node starts over. A scan that cannot be
 * completed fails.
 *
 * A key that moves from node to node in the meantime may be missed on both: then another pass over all nodes follows.
 */
class KeyScan {
  #executor;
  #match;
  #count;
  /**
   * The current pass: its number, the version of the slots at its start, and the nodes scanned completely.
   *
   * @type {{ number: number, version: string | symbol, done: Set<number> } | undefined}
   */
  #pass;
  /** The nodes left to scan in this pass; undefined if they have to be determined. @type {number[] | undefined} */
  #nodes;
  #cursor = START;
  /** @type {Pin} */
  #pin = {};
  /** @type {string | undefined} */
  #runId;
  #seen = new SeenKeys();
  #restarts = 0;
  /** The time since which every step has failed. @type {number | undefined} */
  #failingSince;
  isAtEnd = false;
  /** The async context of the commands. */
  scope = outside;

  /** @param {Executor} executor @param {Keys} keys @param {string} match @param {number} count */
  constructor(executor, keys, match, count) {
    this.#executor = executor;
    this.keys = keys;
    this.#match = keys.pattern(match);
    this.#count = String(count);
  }

  /** Runs commands. @param {Sent[]} commands */
  query(commands) {
    return this.#executor.query(this.scope, commands);
  }

  /** Returns the keys of the next `SCAN`, including those returned before. @throws {Failure} */
  async next() {
    for (;;) {
      try {
        const keys = await this.#step();
        this.#failingSince = undefined;
        return keys;
      } catch (failure) {
        await this.#startOver(/** @type {Failed} */ (failure));
      }
    }
  }

  /** Returns the keys of the next `SCAN` that were not returned before. @throws {Failure} */
  async nextNew() {
    return (await this.next()).filter((key) => this.#seen.add(key));
  }

  /** Starts the scan of the current node over. Throws if the scan cannot be completed. @param {Failed} failure */
  async #startOver(failure) {
    // It may be an error of another kind.
    if (!failure.traits?.interruptsScan) throw failure;
    const { server, timeout, isCluster } = this.#executor;
    if (this.#cursor !== START) this.#restarts++;
    this.#failingSince ??= elapsed();
    if (this.#restarts > MAX_RESTARTS || elapsed() - this.#failingSince >= timeout)
      throw failures.scanInterrupted(server, this.#restarts, failure.toCause());
    this.#beginNode();
    if (!isCluster) return;
    if (!failure.traits.isReplaced) await pause(RESTART_PAUSE);
    // The topology may have changed.
    this.#nodes = undefined;
  }

  #beginNode() {
    this.#cursor = START;
    this.#pin = {};
    this.#runId = undefined;
  }

  /** Returns the node to scan next; undefined at the end. */
  async #node() {
    while (!this.isAtEnd) {
      if (this.#nodes !== undefined && this.#nodes.length > 0) return this.#nodes[0];
      const { nodes, version } = await this.#primaries();
      if (this.#pass === undefined || this.#nodes !== undefined) {
        const number = (this.#pass?.number ?? 0) + 1;
        this.isAtEnd = this.#pass?.version === version || number > MAX_PASSES;
        this.#pass = { number, version, done: new Set() };
      }
      const { done } = this.#pass;
      this.#nodes = nodes.filter((node) => !done.has(node));
    }
    return undefined;
  }

  /** Returns the primaries, and a version of their slots: while it stays the same, no key moves between them. */
  async #primaries() {
    if (!this.#executor.isCluster) return { nodes: [0], version: '' };
    const nodes = await this.#executor.findNodes();
    const commands = nodes.map((node) => new Command(['CLUSTER', 'NODES'], { keyAt: 0, isRead: true, node }));
    const views = (await this.query(commands)).map(stableSlots);
    // While a slot moves, or a primary does not answer, each version is unique.
    return { nodes, version: views.includes(undefined) ? Symbol('unstable') : views.sort().join('\n') };
  }

  /** Runs one `SCAN`. @returns {Promise<string[]>} */
  async #step() {
    const node = await this.#node();
    if (node === undefined) return [];
    const isFirst = this.#cursor === START;
    /** @type {Words} */
    const words = ['SCAN', this.#cursor, 'MATCH', this.#match, 'COUNT', this.#count];
    const replies = await this.#run(node, isFirst ? [INFO, words] : [words]);
    const reply = replies.pop();
    if (reply instanceof Failure) throw reply;
    if (isFirst) this.#runId = runIdOf(replies[0]);
    const [cursor, keys] = Array.isArray(reply) ? reply : [];
    if (typeof cursor !== 'string' || !Array.isArray(keys))
      throw failures.unexpectedReply(this.#executor.server, reply);
    if (cursor === START) {
      // A scan with a single reply was answered by one process.
      if (!isFirst) await this.#checkProcess(node);
      this.#beginNode();
      this.#nodes?.shift();
      this.#pass?.done.add(node);
      // Determines at once whether this was the last reply. The next step reports an error: here, it would lose keys.
      await this.#node().catch(() => {});
    } else this.#cursor = cursor;
    return keys.filter((key) => typeof key === 'string' && this.keys.has(key));
  }

  /** Fails if the process is another one than at the start of the scan of this node. @param {number} node */
  async #checkProcess(node) {
    if (this.#runId === undefined) return;
    const [reply] = await this.#run(node, [INFO]);
    if (reply instanceof Failure && reply.traits.interruptsScan) throw reply;
    const runId = runIdOf(reply);
    if (runId !== undefined && runId !== this.#runId) throw failures.linkReplaced(this.#executor.server);
  }

  /** Runs commands on a node, over the connection of this scan. @param {number} node @param {Words[]} commands */
  #run(node, commands) {
    const traits = { keyAt: 0, isRead: true, node, pin: this.#pin };
    return this.query(commands.map((words) => new Command(words, traits)));
  }
}

/** @type {Words} */
const INFO = ['INFO', 'server'];

/** Returns the run ID in a reply to `INFO server`, if it has one. @param {unknown} reply */
function runIdOf(reply) {
  return typeof reply === 'string' ? /^run_id:(.*)$/m.exec(reply)?.[1].trim() : undefined;
}

/** Returns ID, epoch and slots of the node of a `CLUSTER NODES`, unless one of its slots moves. @param {unknown} reply */
function stableSlots(reply) {
  if (typeof reply !== 'string') return undefined;
  const lines = reply.split('\n').map((line) => line.split(' '));
  const own = lines.find(([, , flags]) => flags?.includes('myself'));
  if (own === undefined) return undefined;
  const [id, , , , , , epoch, , ...slots] = own;
  // A moving slot is listed as `[93->-id]` or `[93-<-id]`.
  return slots.some((slot) => slot.startsWith('[')) ? undefined : [id, epoch, ...slots].join(' ');
}

module.exports = { KeyScan };
