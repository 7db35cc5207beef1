'use strict';

const { askOnce, startRedis } = require('./redis.js');
const { until } = require('./until.js');

/**
 * After this time without an answer, a sentinel regards a server as down. The first PING to a new primary comes
 * after a second: with less than that, it would be regarded as down at once.
 */
const DOWN_AFTER_MS = 1500;

/**
 * Starts a primary, its replicas and the sentinels that monitor them, and waits until all of them know each
 * other, so that a failover can begin.
 *
 * @param {object} [options]
 * @param {string} [options.program] the binary of all servers; by default the one on PATH
 * @param {string} [options.name] the sentinels' name of the primary
 * @param {number} [options.replicas]
 * @param {number} [options.sentinels]
 * @param {string} [options.password] of the primary and its replicas
 * @param {string} [options.sentinelPassword] of the sentinels
 * @param {string[]} [options.args] additional arguments of the primary and its replicas
 * @param {string[]} [options.sentinelArgs] additional arguments of the sentinels
 */
async function startSentinel({
  program,
  name = 'sessions',
  replicas = 2,
  sentinels = 3,
  password,
  sentinelPassword,
  args = [],
  sentinelArgs = [],
} = {}) {
  const group = new SentinelGroup({ program, name, password, sentinelPassword, args, sentinelArgs });
  try {
    await group.start(replicas, sentinels);
    return group;
  } catch (error) {
    await group.stop();
    throw error;
  }
}

class SentinelGroup {
  #options;

  /** The primary and its replicas, each a server of `startRedis`; the first was the first primary. */
  servers = [];
  /** Servers of `startRedis`, too. */
  sentinels = [];

  constructor(options) {
    this.#options = options;
    this.name = options.name;
    this.password = options.password;
    this.sentinelPassword = options.sentinelPassword;
  }

  /** The addresses of the sentinels, as clients accept them. */
  get addresses() {
    return this.sentinels.map(({ port }) => ({ host: '127.0.0.1', port }));
  }

  async start(replicas, sentinels) {
    const primary = await this.#startServer();
    await Promise.all(Array.from({ length: replicas }, () => this.#startServer(primary)));
    for (const replica of this.servers.slice(1)) await this.#linked(replica);
    await Promise.all(Array.from({ length: sentinels }, () => this.#startSentinel(primary)));
    await this.settled();
  }

  /** Resolves when every running sentinel knows the others and all servers, and none of these as down. */
  async settled() {
    const running = this.sentinels.filter((sentinel) => sentinel.isRunning);
    await until(async () => {
      const views = await Promise.all(running.map((sentinel) => this.#view(sentinel)));
      return views.every(
        ({ primary, replicas }) =>
          primary.flags === 'master' &&
          Number(primary['num-other-sentinels']) === this.sentinels.length - 1 &&
          replicas.length === this.servers.length - 1 &&
          replicas.every((replica) => replica.flags === 'slave'),
      );
    });
  }

  /** Returns the server that most of the running sentinels call the primary, or undefined if there is none. */
  async primary() {
    const running = this.sentinels.filter((sentinel) => sentinel.isRunning);
    const views = await Promise.all(running.map((sentinel) => this.#view(sentinel)));
    return this.servers.find(
      ({ port }) => views.filter(({ primary }) => Number(primary.port) === port).length > running.length / 2,
    );
  }

  /** Returns the running servers other than the primary. */
  async replicas() {
    const primary = await this.primary();
    return this.servers.filter((server) => server !== primary && server.isRunning);
  }

  /**
   * Resolves with the new primary once the sentinels have promoted another server than `former` and it accepts
   * writes.
   */
  async promoted(former) {
    let primary;
    await until(async () => {
      primary = await this.primary();
      return (
        primary !== undefined && primary !== former && (await this.#replication(primary)).role === 'master'
      );
    });
    return primary;
  }

  /** Kills the primary as a crash would, and resolves with the server that takes its place. */
  async failOver() {
    const former = await this.primary();
    await former.kill();
    return this.promoted(former);
  }

  /** Restarts a server that was killed, as a replica of the current primary. */
  async rejoin(server) {
    await server.start();
    const { port } = await this.primary();
    // The sentinels would do that, too, after about 10 seconds.
    await askOnce(this.#access(server), 'REPLICAOF', '127.0.0.1', port);
    await this.#linked(server);
    await this.settled();
  }

  /** Adds a sentinel; the others discover it within a few seconds. */
  async addSentinel() {
    const sentinel = await this.#startSentinel(await this.primary());
    await this.settled();
    return sentinel;
  }

  /** Sends one command to the primary. */
  async command(...command) {
    return askOnce(this.#access(await this.primary()), ...command);
  }

  async stop() {
    await Promise.all([...this.sentinels, ...this.servers].map((server) => server.stop()));
  }

  async #startServer(primary) {
    const { program, password, args } = this.#options;
    const server = await startRedis({
      program,
      args: [
        // A primary waits 5 seconds for more replicas before it sends them the data.
        ...['--repl-diskless-sync-delay', '0', '--repl-ping-replica-period', '1'],
        ...(primary === undefined ? [] : ['--replicaof', '127.0.0.1', String(primary.port)]),
        ...(password === undefined ? [] : ['--requirepass', password, '--masterauth', password]),
        ...args,
      ],
    });
    this.servers.push(server);
    return server;
  }

  async #startSentinel(primary) {
    const { program, name, password, sentinelPassword, sentinelArgs } = this.#options;
    const quorum = 2;
    const config = [
      `sentinel monitor ${name} 127.0.0.1 ${primary.port} ${quorum}`,
      `sentinel down-after-milliseconds ${name} ${DOWN_AFTER_MS}`,
      `sentinel failover-timeout ${name} 2000`,
      ...(password === undefined ? [] : [`sentinel auth-pass ${name} ${password}`]),
      // The first for clients, the second for queries of other sentinels.
      ...(sentinelPassword === undefined
        ? []
        : [`requirepass ${sentinelPassword}`, `sentinel sentinel-pass ${sentinelPassword}`]),
    ];
    const sentinel = await startRedis({
      program,
      config: `${config.join('\n')}\n`,
      args: ['--sentinel', ...sentinelArgs],
    });
    this.sentinels.push(sentinel);
    return sentinel;
  }

  /** Returns what a sentinel knows of the primary and its replicas. */
  async #view({ port }) {
    const ask = (subject) =>
      askOnce({ port, password: this.sentinelPassword }, 'SENTINEL', subject, this.name);
    const [primary, replicas] = await Promise.all([ask('MASTER'), ask('REPLICAS')]);
    return { primary: fields(primary), replicas: replicas.map(fields) };
  }

  /** Resolves when a replica follows its primary. */
  #linked(replica) {
    return until(async () => (await this.#replication(replica)).master_link_status === 'up');
  }

  #access({ port }) {
    return { port, password: this.password };
  }

  async #replication(server) {
    const reply = String(await askOnce(this.#access(server), 'INFO', 'replication'));
    return Object.fromEntries(reply.split('\r\n').map((line) => line.split(':')));
  }
}

/** Returns the object that a flat list of names and values stands for. */
function fields(list) {
  const words = list.map(String);
  return Object.fromEntries(
    words.flatMap((word, index) => (index % 2 === 0 ? [[word, words[index + 1]]] : [])),
  );
}

module.exports = { startSentinel };
