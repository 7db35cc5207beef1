'use strict';

// Deployments, and faults that lose no acknowledged write: Redis itself would otherwise lose the last ones in a failover,
// since it replicates asynchronously.

const { setTimeout: sleep } = require('node:timers/promises');
const Redis = require('ioredis');
const { startCluster } = require('../__test__/support/cluster.js');
const { askOnce } = require('../__test__/support/redis.js');
const { startSentinel } = require('../__test__/support/sentinel.js');
const { startRedis } = require('../scripts/redis.js');

const SLOTS = 16_384;
/** Long enough that a node on a busy machine is not replaced, which would lose writes. */
const NODE_TIMEOUT_MS = '5000';

/** Returns the key of the index of a user, by the documentation. */
const indexKey = (user) => `sess-of:user:${user.replace(/[%@]/g, encodeURIComponent)}@sess:`;

/** Opens a client that shares no code with the stores. */
function connect({ kind, url, name, addresses }) {
  const client =
    kind === 'cluster'
      ? new Redis.Cluster(addresses)
      : kind === 'sentinel'
        ? new Redis({ name, sentinels: addresses })
        : new Redis(url);
  return client.on('error', () => {});
}

/** Stops writes on a server, and resolves once its replicas have all of them. */
async function replicateAll(server) {
  await askOnce(server, 'CLIENT', 'PAUSE', '10000', 'WRITE');
  const offsets = async () => {
    const info = String(await askOnce(server, 'INFO', 'replication'));
    const own = Number(/master_repl_offset:(\d+)/.exec(info)[1]);
    return { own, others: [...info.matchAll(/offset=(\d+)/g)].map(([, offset]) => Number(offset)) };
  };
  const { own } = await offsets();
  while ((await offsets()).others.some((offset) => offset < own)) await sleep(5);
}

const deployments = {
  async standalone(program) {
    const server = await startRedis({ program });
    return {
      place: { kind: 'standalone', url: server.url, store: { url: server.url } },
      servers: () => [server],
      faults: {},
      stop: () => server.stop(),
    };
  },

  async sentinel(program) {
    const group = await startSentinel({ program });
    const addresses = group.sentinels.map(({ port }) => ({ host: '127.0.0.1', port }));
    const { name } = group;
    return {
      place: { kind: 'sentinel', name, addresses, store: { sentinel: { name, addresses } } },
      servers: async () => [await group.primary()],
      faults: {
        async failover() {
          const primary = await group.primary();
          await replicateAll(primary);
          await group.failOver();
          await group.rejoin(primary);
        },
      },
      stop: () => group.stop(),
    };
  },

  async cluster(program) {
    const group = await startCluster({ program, args: ['--cluster-node-timeout', NODE_TIMEOUT_MS] });
    const { addresses } = group;
    return {
      place: { kind: 'cluster', addresses, store: { cluster: addresses } },
      servers: () => group.primaries(),
      faults: {
        async failover(below) {
          const primaries = await group.primaries();
          const primary = primaries[below(primaries.length)];
          await replicateAll(primary);
          await group.failOver(primary);
          await group.rejoin(primary);
        },
        async 'slots moved'(below) {
          const primaries = await group.primaries();
          const slots = Array.from({ length: 20 }, () => below(SLOTS));
          await group.moveSlots(slots, primaries[below(primaries.length)]);
        },
      },
      stop: () => group.stop(),
    };
  },
};

/**
 * Injects faults into a deployment at random, one after another.
 *
 * @param {object} deployment
 * @param {object} options
 * @param {Record<string, () => Promise<unknown>>} [options.others] faults in addition to those of the deployment
 * @param {(limit: number) => number} options.below returns a random whole number
 * @param {() => boolean} options.isOver
 * @param {Record<string, number>} options.injected counts them
 */
async function injectFaults({ servers, faults }, { others = {}, below, isOver, injected }) {
  const pickServer = async () => {
    const list = await servers();
    return list[below(list.length)];
  };
  const all = {
    'connections killed': async () => askOnce(await pickServer(), 'CLIENT', 'KILL', 'TYPE', 'normal'),
    'scripts flushed': async () => askOnce(await pickServer(), 'SCRIPT', 'FLUSH'),
    async 'server paused'() {
      const server = await pickServer();
      server.pause();
      await sleep(300);
      server.resume();
    },
    ...faults,
    ...others,
  };
  const kinds = Object.keys(all);
  while (!isOver()) {
    const kind = kinds[below(kinds.length)];
    try {
      await all[kind](below);
      injected[kind] = (injected[kind] ?? 0) + 1;
    } catch (error) {
      injected[`${kind} (failed)`] = (injected[`${kind} (failed)`] ?? 0) + 1;
      process.stderr.write(`${kind}: ${error.message}\n`);
    }
    await sleep(below(400));
  }
}

module.exports = { connect, deployments, indexKey, injectFaults };
