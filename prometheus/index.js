'use strict';

const { optionName, wrongType, wrongValue } = require('../lib/common/errors.js');
const { loadPeer } = require('../lib/observability/peer.js');
const {
  STORE_METRICS,
  checkKnown,
  namedStores,
  samplesOf,
} = require('../lib/observability/store-metrics.js');

/** @import { ObservedStores, StoreStats } from '../index.js' */
/** @import { CollectOptions } from './index.js' */

/** The suffixes that Prometheus's conventions have for units. @type {Record<string, string>} */
const UNITS = { By: '_bytes', s: '_seconds' };
const PREFIX = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;

/** @param {{ name: string, type: string, unit: string }} metric */
function exportedName({ name, type, unit }) {
  return `${name.replaceAll('.', '_')}${UNITS[unit] ?? ''}${type === 'counter' ? '_total' : ''}`;
}

/**
 * The statistics of stores, read once per scrape: a registry reads all its metrics in one turn.
 *
 * @param {ReturnType<typeof namedStores>} stores
 */
function snapshots(stores) {
  /** @type {[string, StoreStats][] | undefined} */
  let current;
  return () => {
    if (current === undefined) {
      current = stores.map(([name, store]) => [name, store.stats()]);
      queueMicrotask(() => {
        current = undefined;
      });
    }
    return current;
  };
}

/** A metric of a registry whose values are read when Prometheus scrapes them. */
class StatsMetric {
  aggregator = 'sum';

  /** @param {string} name @param {string} help @param {string} type @param {() => object[]} read */
  constructor(name, help, type, read) {
    this.name = name;
    this.help = help;
    this.type = type;
    this.read = read;
  }

  async get() {
    const { name, help, type, aggregator } = this;
    return { name, help, type, aggregator, values: this.read() };
  }

  /** Does nothing: the figures are the stores'. */
  reset() {}
}

/**
 * Returns the values of a histogram for one operation: its counts up to each bound, their sum and number.
 *
 * @param {string} name
 * @param {Record<string, string>} labels
 * @param {StoreStats['operations']['get']['latency']} latency
 */
function histogram(name, labels, { bounds, counts, sum }) {
  let total = 0;
  const buckets = counts.map((count, index) => {
    total += count;
    return {
      metricName: `${name}_bucket`,
      labels: { ...labels, le: bounds[index] ?? '+Inf' },
      value: total,
    };
  });
  return [
    ...buckets,
    { metricName: `${name}_sum`, labels, value: sum },
    { metricName: `${name}_count`, labels, value: total },
  ];
}

/**
 * Registers the metrics of stores. Nothing is measured for them: a scrape reads `store.stats()`.
 *
 * @param {ObservedStores} stores
 * @param {CollectOptions} options
 */
function collect(stores, options = {}) {
  checkKnown('collect', options, ['register', 'prefix']);
  const { prefix = 'connect_redis_native_' } = options;
  if (typeof prefix !== 'string') throw wrongType(optionName('prefix'), 'a string', prefix);
  if (!PREFIX.test(prefix)) throw wrongValue(optionName('prefix'), 'the beginning of a metric name', prefix);
  const read = snapshots(namedStores(stores));
  const register =
    options.register ?? loadPeer('prometheus', 'prom-client', () => require('prom-client')).register;

  const duration = `${prefix}operation_duration_seconds`;
  const metrics = [
    ...STORE_METRICS.map(
      (metric) =>
        new StatsMetric(
          prefix + exportedName(metric),
          metric.help,
          metric.type === 'counter' ? 'counter' : 'gauge',
          () =>
            read().flatMap(([store, stats]) =>
              samplesOf(metric, stats).map(({ labels, value }) => ({ labels: { store, ...labels }, value })),
            ),
        ),
    ),
    new StatsMetric(duration, 'Duration of operations that reached Redis.', 'histogram', () =>
      read().flatMap(([store, { operations }]) =>
        Object.entries(operations).flatMap(([operation, { latency }]) =>
          histogram(duration, { store, operation }, latency),
        ),
      ),
    ),
  ];
  const names = metrics.map(({ name }) => name);
  for (const metric of metrics) register.registerMetric(/** @type {any} */ (metric));
  return {
    disable() {
      for (const name of names) register.removeSingleMetric(name);
    },
  };
}

module.exports = { collect };
