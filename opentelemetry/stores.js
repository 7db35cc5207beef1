'use strict';

const { STORE_METRICS, samplesOf } = require('../lib/observability/store-metrics.js');

/** @import { BatchObservableCallback, Meter, Observable } from '@opentelemetry/api' */
/** @import { StoreStats } from '../index.js' */

/** The attributes of the conventions for labels of `STORE_METRICS`. @type {Record<string, string>} */
const ATTRIBUTES = {
  operation: 'db.operation.name',
  code: 'error.type',
  direction: 'network.io.direction',
};
const attributeOf = (/** @type {string} */ label) => ATTRIBUTES[label] ?? `connect_redis_native.${label}`;

/** @type {Record<string, 'createObservableCounter' | 'createObservableUpDownCounter' | 'createObservableGauge'>} */
const CREATE = {
  counter: 'createObservableCounter',
  sum: 'createObservableUpDownCounter',
  gauge: 'createObservableGauge',
};

/**
 * Exports the statistics of stores, read once per collection. Returns a function that ends this.
 *
 * @param {Meter} meter
 * @param {[string, { stats(): StoreStats }][]} stores
 */
function observeStores(meter, stores) {
  if (stores.length === 0) return () => {};
  const instruments = STORE_METRICS.map((metric) => {
    const { name, type, unit, help: description } = metric;
    return { metric, instrument: meter[CREATE[type]](`connect_redis_native.${name}`, { unit, description }) };
  });
  const pending = meter.createObservableUpDownCounter('db.client.connection.pending_requests', {
    unit: '{request}',
    description: 'The number of current pending requests for an open connection.',
  });

  /** @type {BatchObservableCallback} */
  const observe = (result) => {
    for (const [store, source] of stores) {
      const stats = source.stats();
      result.observe(pending, stats.queued, { 'db.client.connection.pool.name': store });
      for (const { metric, instrument } of instruments) {
        for (const { labels, value } of samplesOf(metric, stats)) {
          const named = Object.entries({ store, ...labels }).map(([label, text]) => [
            attributeOf(label),
            text,
          ]);
          result.observe(instrument, value, Object.fromEntries(named));
        }
      }
    }
  };
  /** @type {Observable[]} */
  const observables = [pending, ...instruments.map(({ instrument }) => instrument)];
  meter.addBatchObservableCallback(observe, observables);
  return () => meter.removeBatchObservableCallback(observe, observables);
}

module.exports = { observeStores };
