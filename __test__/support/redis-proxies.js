'use strict';

// Proxies between the store and Redis that speak the protocol themselves.

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { setTimeout: delay } = require('node:timers/promises');
const { freePort, killWithParent, temporaryFolder } = require('../../scripts/redis.js');
const { findProxy } = require('../../scripts/servers.js');

const HOST = '127.0.0.1';
const START_LIMIT_MS = 60_000;
const POLL_MS = 20;

/** Returns the configuration of twemproxy: one pool of servers. It accepts no YAML in the style of JSON. */
const twemproxyConfig = (port, upstreams, settings) => {
  const pool = {
    listen: `${HOST}:${port}`,
    redis: true,
    hash: 'fnv1a_64',
    distribution: 'ketama',
    ...settings,
  };
  const lines = Object.entries(pool).map(([key, value]) => `  ${key}: ${value}`);
  const servers = upstreams.map((upstream) => `    - ${HOST}:${upstream}:1`);
  return ['pool:', ...lines, '  servers:', ...servers, ''].join('\n');
};

/** Returns the configuration of Envoy with its `redis_proxy` filter. */
const envoyConfig = (port, upstreams, settings) => {
  const address = (port_value) => ({ socket_address: { address: HOST, port_value } });
  const proxy = {
    '@type': 'type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProxy',
    stat_prefix: 'redis',
    settings: { op_timeout: '5s', ...settings },
    prefix_routes: { catch_all_route: { cluster: 'redis' } },
  };
  const endpoints = upstreams.map((upstream) => ({ endpoint: { address: address(upstream) } }));
  const config = {
    static_resources: {
      listeners: [
        {
          address: address(port),
          filter_chains: [{ filters: [{ name: 'envoy.filters.network.redis_proxy', typed_config: proxy }] }],
        },
      ],
      clusters: [
        {
          name: 'redis',
          type: 'STATIC',
          lb_policy: 'MAGLEV',
          load_assignment: { cluster_name: 'redis', endpoints: [{ lb_endpoints: endpoints }] },
        },
      ],
    },
  };
  // JSON is YAML as well.
  return JSON.stringify(config, undefined, 2);
};

const proxies = {
  twemproxy: {
    config: twemproxyConfig,
    // Its statistics need their own port.
    args: (file, free) =>
      `--conf-file ${file} --output /dev/stderr --stats-addr ${HOST} --stats-port ${free}`.split(' '),
  },
  Envoy: {
    config: envoyConfig,
    // Without its own base id, two processes of one machine share their memory for restarts.
    args: (file) => ['--config-path', file, '--concurrency', '1', '--disable-hot-restart'],
  },
};

/**
 * Starts a proxy in front of servers and waits until it accepts connections.
 *
 * @param {'Envoy' | 'twemproxy'} name
 * @param {number[]} upstreams the ports of the servers
 * @param {object} [settings] additional settings: of twemproxy's pool, or of Envoy's `redis_proxy`
 * @returns `{ port, url, stop }`
 */
async function startRedisProxy(name, upstreams, settings) {
  const program = findProxy(name);
  if (program === null) throw new Error(`${name} is not installed; \`node scripts/servers.js\` says why.`);
  const folder = temporaryFolder();
  const port = await freePort();
  const file = path.join(folder, 'proxy.yaml');
  const log = path.join(folder, 'proxy.log');
  fs.writeFileSync(file, proxies[name].config(port, upstreams, settings));
  const output = fs.openSync(log, 'a');
  const child = spawn(program, proxies[name].args(file, await freePort()), {
    cwd: folder,
    stdio: ['ignore', output, output],
    detached: true,
  });
  fs.closeSync(output);
  await once(child, 'spawn');
  killWithParent(child);
  const isRunning = () => child.exitCode === null && child.signalCode === null;
  const stop = async () => {
    if (isRunning()) {
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    }
    fs.rmSync(folder, { recursive: true, force: true });
  };

  const deadline = Date.now() + START_LIMIT_MS;
  while (isRunning() && Date.now() < deadline) {
    if (await accepts(port)) return { port, url: `redis://${HOST}:${port}`, stop };
    await delay(POLL_MS);
  }
  const printed = fs.readFileSync(log, 'utf8');
  await stop();
  throw new Error(`${name} did not start; it printed:\n${printed}`);
}

async function accepts(port) {
  const socket = net.connect(port, HOST);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/**
 * Describes something for each proxy, as `describe.each` does. A proxy that is not installed is skipped; in CI, where
 * all of them must be, its tests fail.
 */
function describeProxies(body) {
  for (const name of Object.keys(proxies)) {
    const isMissing = findProxy(name) === null && !process.env.CI;
    (isMissing ? describe.skip : describe)(name, () => body(name));
  }
}

module.exports = { describeProxies, startRedisProxy };
