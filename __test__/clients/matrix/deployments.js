'use strict';

const { startCluster } = require('../../support/cluster.js');
const { askOnce, startRedis } = require('../../support/redis.js');
const { startSentinel } = require('../../support/sentinel.js');

// The servers of a row: how to start them, where clients connect to, and how a test inspects them without any of the
// clients under test. Each has
// - `topology`
// - `places`: where clients connect to, each `{ host, port }`, with what else they need for that
// - `at(key, ...command)`: sends one command to the server that has the key
// - `everywhere(...command)`: sends one command to every server that has keys, and returns their replies
// - `stop()`

const HOST = '127.0.0.1';

async function standalone(program, { args } = {}) {
  const server = await startRedis({ program, args });
  return {
    topology: 'standalone',
    places: [{ host: HOST, port: server.port }],
    at: (_key, ...command) => askOnce(server, ...command),
    everywhere: async (...command) => [await askOnce(server, ...command)],
    stop: () => server.stop(),
  };
}

async function sentinel(program, options) {
  const passwords = { password: 'of-the-servers', sentinelPassword: 'of-the-sentinels', ...options };
  const group = await startSentinel({ program, ...passwords });
  return {
    topology: 'sentinel',
    ...passwords,
    name: group.name,
    places: group.addresses,
    at: (_key, ...command) => group.command(...command),
    everywhere: async (...command) => [await group.command(...command)],
    stop: () => group.stop(),
  };
}

async function cluster(program) {
  const password = 'of-the-nodes';
  const nodes = await startCluster({ program, password });
  return {
    topology: 'cluster',
    password,
    // Not all of them: the others have to be discovered.
    places: nodes.addresses.slice(0, 2),
    at: (key, ...command) => nodes.command(key, ...command),
    everywhere: (...command) => nodes.everywhere(...command),
    stop: () => nodes.stop(),
  };
}

const deployments = { standalone, sentinel, cluster };

/**
 * Starts a deployment before the tests of a `describe`, empties it before each, and stops it after them.
 *
 * @param {object} [options] of `startSentinel`, or the `args` of a standalone server
 */
function useDeployment(topology, program, options) {
  let deployment;
  beforeAll(async () => {
    deployment = await deployments[topology](program, options);
  });
  beforeEach(() => deployment.everywhere('FLUSHALL'));
  afterAll(() => deployment?.stop());

  return {
    /** Everything that a client needs to know to connect. */
    get place() {
      return deployment;
    },
    at: (...args) => deployment.at(...args),
    /** Returns the keys on all servers, as the strings they were made of, sorted. */
    async keys() {
      return (await deployment.everywhere('KEYS', '*')).flat().map(String).sort();
    },
    /** Returns the text stored at a key; null if there is none. */
    async text(key) {
      const value = await deployment.at(key, 'GET', key);
      return value === null ? null : String(value);
    },
    /** Returns the time a key has left, in ms; -1 if it has no expiry, -2 if there is no such key. */
    lifetime: (key) => deployment.at(key, 'PTTL', key),
    store: (key, text) => deployment.at(key, 'SET', key, text),
  };
}

module.exports = { useDeployment };
