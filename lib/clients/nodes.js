'use strict';

const { isGlide } = require('./glide.js');

/** @import { RedisClient, Text } from '../types.d.ts' */

/** @typedef {{ name: string, run: (args: Text[]) => unknown }} ClientNode */
/** @typedef {[host: string, port: number]} Primary */

/**
 * A kind of cluster clients.
 *
 * @typedef {object} Kind
 * @property {(client: RedisClient) => boolean} is
 * @property {(client: RedisClient) => Promise<any>} readSlots
 * @property {(client: RedisClient, slots: any) => ClientNode[]} nodes
 * @property {(client: RedisClient) => Promise<unknown>} [refresh] updates the client's own slot map
 */

/** The three kinds of cluster clients, and their access to nodes. @type {Record<string, Kind>} */
const kinds = {
  ioredis: {
    is: (client) => client.isCluster === true && typeof client.nodes === 'function',
    readSlots: (client) => client.call('CLUSTER', 'SLOTS'),
    nodes: (client) =>
      client.nodes('master').map((/** @type {any} */ node) => ({
        name: `${node.options.host}:${node.options.port}`,
        run: (/** @type {Text[]} */ args) => node.call(...args),
      })),
    refresh: (client) => new Promise((resolve) => client.refreshSlotsCache(resolve)),
  },
  nodeRedis: {
    is: (client) => Array.isArray(client.masters) && typeof client.nodeClient === 'function',
    readSlots: (client) => client.sendCommand(undefined, false, ['CLUSTER', 'SLOTS']),
    nodes: (client) =>
      client.masters.map((/** @type {any} */ master) => ({
        name: master.address ?? `${master.host}:${master.port}`,
        run: async (/** @type {Text[]} */ args) => (await client.nodeClient(master)).sendCommand(args),
      })),
  },
  glide: {
    is: (client) => isGlide(client) && typeof client.ssubscribe === 'function',
    readSlots: (client) => client.customCommand(['CLUSTER', 'SLOTS'], { route: 'randomNode' }),
    nodes: (client, slots) =>
      primariesOf(slots).map(([host, port]) => ({
        name: `${host}:${port}`,
        run: (args) => client.customCommand(args, { route: { type: 'routeByAddress', host, port } }),
      })),
  },
};

const kindOf = (/** @type {RedisClient} */ client) => Object.values(kinds).find(({ is }) => is(client));

/** The primaries of a client's cluster, for commands that run on each of them. */
class ClientNodes {
  #client;
  /** The nodes by number, from 1. A node keeps its number permanently. @type {(ClientNode | undefined)[]} */
  #nodes = [undefined];
  /** @type {Map<string, number>} */
  #numbers = new Map();

  /** @param {RedisClient} client */
  static isCluster(client) {
    return kindOf(client) !== undefined;
  }

  /** @param {RedisClient} client */
  constructor(client) {
    this.#client = client;
  }

  /** Finds the primaries, and returns their numbers. */
  async find() {
    const client = this.#client;
    const kind = /** @type {Kind} */ (kindOf(client));
    // The client's own slot map may be out of date: it is updated only by redirects of commands.
    const slots = await kind.readSlots(client);
    let nodes = kind.nodes(client, slots);
    const known = () => nodes.length >= primariesOf(slots).length;
    if (!known() && kind.refresh !== undefined) {
      await kind.refresh(client);
      nodes = kind.nodes(client, slots);
    }
    if (!known()) throw new Error('the client does not know all nodes of its cluster yet');
    return nodes.map((node) => this.#numberOf(node));
  }

  /** Runs a command on the node of this number. @param {number} number @param {Text[]} args */
  run(number, args) {
    return /** @type {ClientNode} */ (this.#nodes[number]).run(args);
  }

  /** @param {ClientNode} node */
  #numberOf(node) {
    let number = this.#numbers.get(node.name);
    if (number === undefined) {
      number = this.#nodes.length;
      this.#numbers.set(node.name, number);
    }
    this.#nodes[number] = node;
    return number;
  }
}

/** Returns host and port of each primary in a reply to `CLUSTER SLOTS`. @param {any[]} slots */
function primariesOf(slots) {
  /** @type {Primary[]} */
  const primaries = slots.map(([, , [host, port]]) => [host, Number(port)]);
  return [...new Map(primaries.map((primary) => [primary.join(), primary])).values()];
}

module.exports = { ClientNodes };
