'use strict';

/**
 * The transport of a store for each client and topology, or `–` where the client does not support the topology.
 * docs/clients.md has the same table; the tests in this folder cover all of it.
 */
const table = {
  url: { standalone: 'native', sentinel: 'native', cluster: 'native', pool: '–' },
  options: { standalone: '–', sentinel: 'native', cluster: 'native', pool: '–' },
  'redis 4': { standalone: 'native', sentinel: '–', cluster: 'client', pool: '–' },
  'redis 5': { standalone: 'native', sentinel: 'client', cluster: 'native', pool: 'client' },
  'redis 6': { standalone: 'native', sentinel: 'client', cluster: 'native', pool: 'client' },
  'ioredis 4': { standalone: 'native', sentinel: 'native', cluster: 'native', pool: '–' },
  'ioredis 5': { standalone: 'native', sentinel: 'native', cluster: 'native', pool: '–' },
  'ioredis 6': { standalone: 'native', sentinel: 'native', cluster: 'native', pool: '–' },
  'iovalkey 0.4': { standalone: 'native', sentinel: 'native', cluster: 'native', pool: '–' },
  'valkey-glide 2': { standalone: 'native', sentinel: '–', cluster: 'native', pool: '–' },
};

/** Returns the clients whose entry for a topology is one of `entries`. */
function clientsWith(topology, ...entries) {
  return Object.keys(table).filter((client) => entries.includes(table[client][topology]));
}

module.exports = { table, clientsWith };
