'use strict';

const { latencyBounds, serverName } = require('../boundary/native.js');

/** @import { CacheStats, OperationStats, Status, StoreStats } from '../../index.js' */
/** @import { Connection } from '../types.d.ts' */

/** The upper bounds of a histogram's counts, in seconds. */
const BOUNDS = Object.freeze(latencyBounds());

/** @typedef {keyof StoreStats['operations']} OperationName */

/** @type {OperationName[]} */
const OPERATIONS = ['get', 'set', 'touch', 'destroy', 'all', 'ids', 'length', 'clear', 'scan'];

/** @type {<Value>(create: () => Value) => Record<OperationName, Value>} */
const forEach = (create) =>
  /** @type {any} */ (Object.fromEntries(OPERATIONS.map((name) => [name, create()])));

/** The latencies of an operation that the app's client ran: their sum in seconds, and how many were up to each bound. */
class Latencies {
  sum = 0;
  counts = new Array(BOUNDS.length + 1).fill(0);

  /** @param {number} seconds */
  add(seconds) {
    this.sum += seconds;
    let index = 0;
    while (index < BOUNDS.length && seconds > BOUNDS[index]) index++;
    this.counts[index]++;
  }
}

/**
 * Counts what the addon does not see of a store's operations: failures, which may occur before or after Redis has
 * replied, and operations that send nothing. With the transport 'client', the others as well.
 */
class Statistics {
  /**
   * Operations without a latency, such as cache hits. The operations of the addon that this process counts otherwise
   * are subtracted.
   */
  unsent = forEach(() => 0);
  #failed = forEach(() => 0);
  /** @type {Record<string, number>} */
  #errors = {};
  discarded = 0;
  conflicts = 0;
  /** Undefined until a client has run an operation. @type {Record<OperationName, Latencies> | undefined} */
  #latencies;

  /** Counts a failure of an operation that is counted already. @param {string | undefined} operation @param {any} error */
  fail(operation, error) {
    // `close` has no statistics.
    if (operation === undefined) return;
    this.#failed[/** @type {OperationName} */ (operation)]++;
    const code = typeof error?.code === 'string' ? error.code : 'OTHER';
    this.#errors[code] = (this.#errors[code] ?? 0) + 1;
  }

  /** Counts an operation that fails before anything is sent. @param {string} operation @param {any} error */
  reject(operation, error) {
    this.unsent[/** @type {OperationName} */ (operation)]++;
    this.fail(operation, error);
  }

  /** Records an operation that a client has run. @param {string} operation @param {number} ms */
  record(operation, ms) {
    this.#latencies ??= forEach(() => new Latencies());
    this.#latencies[/** @type {OperationName} */ (operation)].add(ms / 1000);
  }

  /**
   * Returns the statistics of the store.
   *
   * @param {Connection} connection
   * @param {CacheStats | null} cache
   * @returns {StoreStats}
   */
  of({ backend, native, status, transport, location }, cache) {
    const addon = transport === 'native' ? native?.stats() : undefined;
    const { operations, read, written, reconnects, queued, inFlight, server, serverName, version, features } =
      addon ?? { ...backend.stats?.(), operations: [] };
    const { address, port } = server ?? location;
    return {
      status: /** @type {Status} */ (status),
      transport: /** @type {StoreStats['transport']} */ (transport),
      server: {
        ...(address === undefined ? {} : { address, port }),
        database: location.database ?? 0,
        ...(version === undefined ? {} : { name: serverName, version }),
        features: features ?? [],
      },
      operations: this.#operations(operations),
      errors: { ...this.#errors },
      ...(read === undefined || written === undefined ? {} : { bytes: { read, written } }),
      reconnects: reconnects ?? 0,
      queued: queued ?? 0,
      inFlight: inFlight ?? 0,
      discarded: this.discarded,
      conflicts: this.conflicts,
      cache,
    };
  }

  /** @param {{ name: string, sum: number, counts: number[] }[]} addon */
  #operations(addon) {
    const operations = forEach(() => /** @type {OperationStats} */ (/** @type {unknown} */ (undefined)));
    for (const name of OPERATIONS) {
      const measured = addon.find((operation) => operation.name === name) ?? this.#latencies?.[name];
      const { sum, counts } = measured ?? new Latencies();
      const count = counts.reduce((total, some) => total + some, this.unsent[name]);
      const latency = { bounds: [...BOUNDS], counts: [...counts], sum };
      operations[name] = { count, failed: this.#failed[name], latency };
    }
    return operations;
  }
}

/** The servers by their numbers, which the addon never reuses. @type {ReturnType<typeof serverName>[]} */
const servers = [];

/**
 * Decodes the addon's record of how a request was served; src/slice.rs describes it.
 *
 * @param {number} record
 */
function decodeServed(record) {
  const number = record >>> 9;
  if (servers[number] === undefined) servers[number] = serverName(number);
  const { address, port } = servers[number] ?? {};
  return { address, port, attempts: record & 255, isShared: (record & 256) !== 0 };
}

module.exports = { OPERATIONS, Statistics, decodeServed };
