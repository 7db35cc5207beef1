'use strict';

const { fork } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');
const { setTimeout: delay } = require('node:timers/promises');
const { askOnce, startRedis } = require('../support/redis.js');
const { startCluster } = require('../support/cluster.js');

// The process is stopped for longer than an operation may take, while replies wait in its sockets.

const STOP_MS = 8000;
const LIMIT_MS = 120_000;

let servers;
let child;
afterEach(async () => {
  child?.kill('SIGKILL');
  await servers?.stop();
});

const message = async () => (await once(child, 'message'))[0];

/** The servers hold replies back for `replyDelay` ms after the operations were sent. */
async function stopUnderOperations(options, nodes, replyDelay) {
  child = fork(path.join(__dirname, 'programs', 'stopped.js'), [JSON.stringify(options)]);
  expect(await message()).toBe('ready');
  const connections = async () => {
    const infos = await Promise.all(nodes.map((node) => askOnce(node, 'CLIENT', 'LIST')));
    return infos.flatMap(
      (info) => String(info).match(/\bid=\d+(?=.*lib-name=connect|.*name=connect)/g) ?? [],
    );
  };
  const before = await connections();
  for (const node of nodes) await askOnce(node, 'CLIENT', 'PAUSE', replyDelay, 'ALL');
  child.send('go');
  expect(await message()).toBe('sent');
  child.kill('SIGSTOP');
  await delay(STOP_MS);
  const ended = message();
  child.kill('SIGCONT');
  expect(await ended).toEqual({ failed: [], events: [] });
  expect((await connections()).length).toBeLessThanOrEqual(before.length);
}

test.each([
  ['have come', 500],
  ['come after it', STOP_MS + 500],
])(
  'operations of a stopped process succeed when their replies %s',
  async (_when, replyDelay) => {
    servers = await startRedis();
    await stopUnderOperations({ url: `redis://127.0.0.1:${servers.port}` }, [servers], replyDelay);
  },
  LIMIT_MS,
);

test(
  'operations of a stopped process succeed in a cluster',
  async () => {
    servers = await startCluster({ primaries: 3, replicas: 0, args: ['--cluster-node-timeout', '60000'] });
    await stopUnderOperations({ cluster: servers.addresses }, servers.nodes, 500);
  },
  LIMIT_MS,
);
