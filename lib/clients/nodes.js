'use strict';

const { isGlide } = require('./glide.js');

/** The three ways in which cluster clients give their nodes: each with a `name` and `run(words)`. */
const kinds = {
  ioredis: {
    is: (client) => client.isCluster === true && typeof client.nodes === 'function',
    ask: (client) => client.call('CLUSTER', 'SLOTS'),
    nodes: (client) =>
      client.nodes('master').map((node) => ({
        name: `${node.options.host}:${node.options.port}`,
        run: (words) => node.call(...words),
      })),
    refresh: (client) => new Promise((resolve) => client.refreshSlotsCache(resolve)),
  },
  nodeRedis: {
    is: (client) => Array.isArray(client.masters) && typeof client.nodeClient === 'function',
    ask: (client) => client.sendCommand(undefined, false, ['CLUSTER', 'SLOTS']),
    nodes: (client) =>
      client.masters.map((master) => ({
        name: master.address ?? `${master.host}:${master.port}`,
        run: async (words) => (await client.nodeClient(master)).sendCommand(words),
      })),
  },
  glide: {
    is: (client) => isGlide(client) && typeof client.ssubscribe === 'function',
    ask: (client) => client.customCommand(['CLUSTER', 'SLOTS'], { route: 'randomNode' }),
    nodes: (client, slots) =>
      primariesOf(slots).map(([host, port]) => ({
        name: `${host}:${port}`,
        run: (words) => client.customCommand(words, { route: { type: 'routeByAddress', host, port } }),
      })),
  },
};

const kindOf = (client) => Object.values(kinds).find(({ is }) => is(client));

/** The primaries of a client's cluster, for commands that go to each of them. */
class ClientNodes {
  #client;
  /** By number, from 1. A node keeps its number, whatever becomes of it. */
  #nodes = [undefined];
  #numbers = new Map();

  static isCluster(client) {
    return kindOf(client) !== undefined;
  }

  constructor(client) {
    this.#client = client;
  }

  /** The numbers of the primaries. */
  async find() {
    const client = this.#client;
    const kind = kindOf(client);
    // The client's own table may be out of date, as only commands on keys that have moved tell it so.
    const slots = await kind.ask(client);
    let nodes = kind.nodes(client, slots);
    const known = () => nodes.length >= primariesOf(slots).length;
    if (!known() && kind.refresh !== undefined) {
      await kind.refresh(client);
      nodes = kind.nodes(client, slots);
    }
    if (!known()) throw new Error('the client does not know all nodes of its cluster yet');
    return nodes.map((node) => this.#numberOf(node));
  }

  /** Runs a command on the node of this number. */
  run(number, words) {
    return this.#nodes[number].run(words);
  }

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

/** Host and port of each, from the reply to `CLUSTER SLOTS`. */
function primariesOf(slots) {
  const primaries = slots.map(([, , [host, port]]) => [host, Number(port)]);
  return [...new Map(primaries.map((primary) => [primary.join(), primary])).values()];
}

module.exports = { ClientNodes };
