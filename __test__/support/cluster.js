'use strict';

const { askOnce, startRedis } = require('./redis.js');
const { until } = require('./until.js');

const SLOTS = 16_384;
/** After this time without an answer, a node is regarded as failing by the others. */
const NODE_TIMEOUT_MS = 1000;
const KEYS_AT_ONCE = 10;
const MIGRATE_LIMIT_MS = 60_000;

/**
 * Starts the nodes of a cluster and waits until each agrees that all slots are served and each replica follows
 * its primary.
 *
 * @param {object} [options]
 * @param {string} [options.program] the binary of all nodes; by default the one on PATH
 * @param {number} [options.primaries] they share the slots evenly
 * @param {number} [options.replicas] per primary
 * @param {string} [options.password]
 * @param {string[]} [options.args] additional arguments of the nodes
 */
async function startCluster({ program, primaries = 3, replicas = 1, password, args = [] } = {}) {
  const cluster = new Cluster({ program, password, args });
  try {
    await cluster.start(primaries, replicas);
    return cluster;
  } catch (error) {
    await cluster.stop();
    throw error;
  }
}

class Cluster {
  #options;

  /** The nodes: servers of `startRedis` that also have the `id` by which the nodes know them. */
  nodes = [];

  constructor(options) {
    this.#options = options;
    this.password = options.password;
  }

  /** The addresses of the running nodes, as clients accept them. */
  get addresses() {
    return this.#running.map(({ port }) => ({ host: '127.0.0.1', port }));
  }

  get #running() {
    return this.nodes.filter((node) => node.isRunning);
  }

  async start(primaries, replicas) {
    await Promise.all(Array.from({ length: primaries * (1 + replicas) }, () => this.#startNode()));
    const [first, ...others] = this.nodes;
    // Nodes with the same epoch would have to settle first which of them is right.
    for (const [index, node] of this.nodes.entries())
      await this.#ask(node, 'CLUSTER', 'SET-CONFIG-EPOCH', index + 1);
    for (const node of others) await this.#ask(node, 'CLUSTER', 'MEET', '127.0.0.1', first.port);
    await this.#known();

    const share = Math.ceil(SLOTS / primaries);
    for (let index = 0; index < primaries; index++) {
      const start = index * share;
      const slots = range(start, Math.min(start + share, SLOTS));
      await this.#ask(this.nodes[index], 'CLUSTER', 'ADDSLOTS', ...slots);
    }
    for (const [index, node] of this.nodes.slice(primaries).entries()) {
      await this.#ask(node, 'CLUSTER', 'REPLICATE', this.nodes[index % primaries].id);
      await this.#follows(node);
    }
    await this.settled();
  }

  /**
   * Resolves when every running node sees all slots served, and the same primaries and replicas, and
   * every replica follows its primary.
   */
  async settled() {
    await until(async () => {
      const nodes = this.#running;
      const infos = await Promise.all(nodes.map((node) => this.#ask(node, 'CLUSTER', 'INFO')));
      if (!infos.every((info) => String(info).includes('cluster_state:ok'))) return false;
      const views = await Promise.all(nodes.map((node) => this.#view(node)));
      const agreement = (view) =>
        view
          .filter(({ flags }) => !flags.some((flag) => flag.startsWith('fail')))
          .map(({ id, primary, slots }) => `${id} ${primary} ${slots.join(' ')}`)
          .sort()
          .join();
      if (new Set(views.map(agreement)).size !== 1) return false;
      const replications = await Promise.all(nodes.map((node) => this.#ask(node, 'INFO', 'replication')));
      return replications.every((reply) => /role:master|master_link_status:up/.test(String(reply)));
    });
  }

  /** Returns the nodes that serve slots. */
  async primaries() {
    const view = await this.#view(this.#running[0]);
    const ids = view.filter(({ slots }) => slots.length > 0).map(({ id }) => id);
    return this.nodes.filter(({ id }) => ids.includes(id));
  }

  /** Returns the node that serves a slot. */
  async ownerOf(slot) {
    const view = await this.#view(this.#running[0]);
    const owner = view.find(({ slots }) => slots.some(([from, to]) => slot >= from && slot <= to));
    return this.nodes.find(({ id }) => id === owner?.id);
  }

  /** Returns the first slot that a node serves. */
  async firstSlotOf(node) {
    const [[slot]] = (await this.#view(node)).find(({ id }) => id === node.id).slots;
    return slot;
  }

  /** Returns the slot of a key. */
  async slotOf(key) {
    return this.#ask(this.#running[0], 'CLUSTER', 'KEYSLOT', key);
  }

  /**
   * Kills a primary as a crash would, and resolves with the node that takes its place.
   *
   * @param {object} [node] one of `primaries()`
   */
  async failOver(node) {
    const primary = node ?? (await this.primaries())[0];
    const slot = await this.firstSlotOf(primary);
    await primary.kill();
    let successor;
    await until(async () => {
      successor = await this.ownerOf(slot);
      return successor !== undefined && successor !== primary;
    });
    await this.settled();
    return successor;
  }

  /** Restarts a node that was killed and replaced, and waits until it follows its successor. */
  async rejoin(node) {
    await node.start();
    await this.#follows(node);
    await this.settled();
  }

  /** Moves slots, key by key and under load, as redis-cli's reshard does. */
  async moveSlots(slots, target) {
    for (const slot of slots) {
      const source = await this.ownerOf(slot);
      if (source !== target) await this.#moveSlot(slot, source, target);
    }
  }

  /** Adds a primary without slots. */
  async addPrimary() {
    const node = await this.#startNode();
    await this.#ask(node, 'CLUSTER', 'MEET', '127.0.0.1', this.#running[0].port);
    await this.#known();
    await this.settled();
    return node;
  }

  /** Adds a replica of one of the `primaries()`. */
  async addReplica(primary) {
    const node = await this.addPrimary();
    await this.#ask(node, 'CLUSTER', 'REPLICATE', primary.id);
    await this.#follows(node);
    await this.settled();
    return node;
  }

  /** Removes a node without slots from the cluster and stops it. */
  async remove(node) {
    await Promise.all(
      this.#running
        .filter((other) => other !== node)
        .map((other) => this.#ask(other, 'CLUSTER', 'FORGET', node.id)),
    );
    this.nodes = this.nodes.filter((other) => other !== node);
    await node.stop();
    await this.settled();
  }

  /** Sends one command to the primary of `key`. */
  async command(key, ...command) {
    return this.#ask(await this.ownerOf(await this.slotOf(key)), ...command);
  }

  /** Sends one command to each primary, and returns their replies. */
  async everywhere(...command) {
    const primaries = await this.primaries();
    return Promise.all(primaries.map((node) => this.#ask(node, ...command)));
  }

  async stop() {
    await Promise.all(this.nodes.map((node) => node.stop()));
  }

  async #startNode() {
    const { program, password, args } = this.#options;
    const node = await startRedis({
      program,
      args: [
        ...['--cluster-enabled', 'yes', '--cluster-config-file', 'nodes.conf'],
        ...['--cluster-node-timeout', String(NODE_TIMEOUT_MS), '--cluster-replica-validity-factor', '0'],
        // A primary waits 5 seconds for more replicas before it sends them the data.
        ...['--repl-diskless-sync-delay', '0', '--repl-ping-replica-period', '1'],
        ...(password === undefined ? [] : ['--requirepass', password, '--masterauth', password]),
        ...args,
      ],
    });
    this.nodes.push(node);
    node.id = String(await this.#ask(node, 'CLUSTER', 'MYID'));
    return node;
  }

  async #moveSlot(slot, source, target) {
    await this.#setSlot(target, slot, 'IMPORTING', source.id);
    await this.#setSlot(source, slot, 'MIGRATING', target.id);
    for (;;) {
      const keys = await this.#ask(source, 'CLUSTER', 'GETKEYSINSLOT', slot, KEYS_AT_ONCE);
      if (keys.length === 0) break;
      const auth = this.password === undefined ? [] : ['AUTH', this.password];
      await this.#ask(
        ...[source, 'MIGRATE', '127.0.0.1', target.port, '', 0, MIGRATE_LIMIT_MS],
        ...[...auth, 'KEYS', ...keys],
      );
    }
    // The target first: a source that has already released the slot would redirect clients to one that rejects them.
    const primaries = await this.primaries();
    for (const node of new Set([target, source, ...primaries]))
      await this.#setSlot(node, slot, 'NODE', target.id);
  }

  /** Informs a primary about a slot. */
  async #setSlot(node, ...words) {
    const isDone = (error) => {
      // A primary that learns of its last slot's move from another node becomes a replica by that.
      if (/only with masters/i.test(error.message)) return true;
      // Valkey waits for the node's replicas first, which may still be on their way.
      if (error.message.startsWith('NOREPLICAS')) return false;
      throw error;
    };
    await until(() => this.#ask(node, 'CLUSTER', 'SETSLOT', ...words).then(() => true, isDone));
  }

  /** Resolves when every node knows every other. */
  async #known() {
    await until(async () => {
      const views = await Promise.all(this.#running.map((node) => this.#view(node)));
      return views.every(
        (view) =>
          view.length === this.nodes.length && view.every(({ flags }) => !flags.includes('handshake')),
      );
    });
  }

  /** Resolves when a node is a replica that has its primary's data. */
  #follows(node) {
    return until(async () =>
      /master_link_status:up/.test(String(await this.#ask(node, 'INFO', 'replication'))),
    );
  }

  /** Returns what a node knows of all of them: their ids, flags, primaries and ranges of slots. */
  async #view(node) {
    const lines = String(await this.#ask(node, 'CLUSTER', 'NODES'))
      .trim()
      .split('\n');
    return lines.map((line) => {
      const [id, , flags, primary, , , , , ...served] = line.split(' ');
      const slots = served
        .filter((part) => !part.startsWith('[')) // a slot that is being migrated
        .map((part) => part.split('-').map(Number))
        .map(([from, to = from]) => [from, to]);
      return { id, flags: flags.split(','), primary, slots };
    });
  }

  #ask({ port }, ...command) {
    return askOnce({ port, password: this.password }, ...command);
  }
}

function range(start, end) {
  return Array.from({ length: end - start }, (_, index) => start + index);
}

module.exports = { startCluster };
