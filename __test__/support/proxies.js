'use strict';

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { findProxy } = require('../../scripts/proxies.js');
const { freePort } = require('../../scripts/redis.js');
const { until } = require('./until.js');

const HOST = '127.0.0.1';
const START_LIMIT_MS = 20_000;

/** Twemproxy in front of the servers on these ports. */
async function startNutcracker(ports) {
  const port = await freePort();
  const config = `pool:
  listen: ${HOST}:${port}
  hash: fnv1a_64
  distribution: ketama
  redis: true
  timeout: 1000
  server_retry_timeout: 100
  auto_eject_hosts: false
  servers:
${ports.map((server) => `   - ${HOST}:${server}:1`).join('\n')}
`;
  return startProxy('nutcracker', port, config, async (file) => {
    const stats = String(await freePort());
    return ['-c', file, '-a', HOST, '-s', stats, '-o', '/dev/null', '-p', `${file}.pid`];
  });
}

/** Envoy with its `redis_proxy` filter in front of the servers on these ports. */
async function startEnvoy(ports) {
  const port = await freePort();
  const endpoint = (server) =>
    `{ endpoint: { address: { socket_address: { address: ${HOST}, port_value: ${server} } } } }`;
  const config = `static_resources:
  listeners:
  - address: { socket_address: { address: ${HOST}, port_value: ${port} } }
    filter_chains:
    - filters:
      - name: envoy.filters.network.redis_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProxy
          stat_prefix: redis
          settings: { op_timeout: 5s }
          prefix_routes: { catch_all_route: { cluster: redis } }
  clusters:
  - name: redis
    type: STATIC
    connect_timeout: 1s
    lb_policy: MAGLEV
    load_assignment:
      cluster_name: redis
      endpoints: [{ lb_endpoints: [${ports.map(endpoint).join(', ')}] }]
`;
  return startProxy('envoy', port, config, (file) => [
    ...['-c', file, '--concurrency', '1', '--log-level', 'off', '--disable-hot-restart'],
  ]);
}

async function startProxy(name, port, config, argsFor) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), `${name}-`));
  const file = path.join(folder, 'proxy.yaml');
  fs.writeFileSync(file, config);
  const child = spawn(findProxy(name), await argsFor(file), { cwd: folder, stdio: 'ignore' });
  const ended = once(child, 'exit');
  const stop = async () => {
    child.kill('SIGKILL');
    await ended;
    fs.rmSync(folder, { recursive: true, force: true });
  };
  try {
    await until(() => accepts(port), START_LIMIT_MS);
  } catch (error) {
    await stop();
    throw error;
  }
  return { port, url: `redis://${HOST}:${port}`, stop };
}

function accepts(port) {
  return new Promise((resolve) => {
    const socket = net.connect(port, HOST);
    socket.on('connect', () => resolve(true));
    socket.on('error', () => resolve(false));
    socket.on('close', () => socket.destroy());
    socket.once('connect', () => socket.destroy());
  });
}

/** `describe` where a proxy is installed, else `describe.skip`. */
const describeProxy = (name) => (findProxy(name) === null ? describe.skip : describe);

module.exports = { startNutcracker, startEnvoy, describeProxy };
