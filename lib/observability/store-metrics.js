'use strict';

const { optionName, unknownField, wrongType } = require('../common/errors.js');

/** @import { StoreStats } from '../../index.js' */
/** @import { StoreMetric } from '../types.d.ts' */

/** @param {StoreStats} stats @param {'count' | 'failed'} figure */
const perOperation = (stats, figure) =>
  Object.entries(stats.operations).map(([operation, figures]) => ({ operation, value: figures[figure] }));

/** The metrics of a store, as both subpaths export them. @type {StoreMetric[]} */
const STORE_METRICS = [
  {
    ...{ name: 'operations', type: 'counter', unit: '{operation}' },
    help: 'Operations that ended, including cache hits.',
    read: (stats) => perOperation(stats, 'count'),
  },
  {
    ...{ name: 'operations.failed', type: 'counter', unit: '{operation}' },
    help: 'Operations that failed.',
    read: (stats) => perOperation(stats, 'failed'),
  },
  {
    ...{ name: 'operations.queued', type: 'sum', unit: '{operation}' },
    help: 'Operations that wait for a connection.',
    read: ({ queued }) => [{ value: queued }],
  },
  {
    ...{ name: 'operations.in_flight', type: 'sum', unit: '{operation}' },
    help: 'Operations that were sent and have not been answered.',
    read: ({ inFlight }) => [{ value: inFlight }],
  },
  {
    ...{ name: 'errors', type: 'counter', unit: '{error}' },
    help: 'Errors of operations, by code.',
    read: ({ errors }) => Object.entries(errors).map(([code, value]) => ({ code, value })),
  },
  {
    ...{ name: 'connection.ready', type: 'gauge', unit: '' },
    help: '1 while the connection is ready, else 0.',
    read: ({ status }) => [{ value: status === 'ready' ? 1 : 0 }],
  },
  {
    ...{ name: 'connection.info', type: 'gauge', unit: '' },
    help: 'The transport and the version of the server.',
    read: ({ transport, server }) => [{ transport, version: server.version ?? '', value: 1 }],
  },
  {
    ...{ name: 'connection.reconnects', type: 'counter', unit: '{reconnect}' },
    help: 'Connections that replaced a lost one.',
    read: ({ reconnects }) => [{ value: reconnects }],
  },
  {
    ...{ name: 'connection.io', type: 'counter', unit: 'By' },
    help: 'Bytes received from Redis and transmitted to it.',
    read: ({ bytes }) => [
      { direction: 'receive', value: bytes?.read },
      { direction: 'transmit', value: bytes?.written },
    ],
  },
  {
    ...{ name: 'sessions.discarded', type: 'counter', unit: '{session}' },
    help: 'Saves that stored nothing, since the session had been destroyed.',
    read: ({ discarded }) => [{ value: discarded }],
  },
  {
    ...{ name: 'sessions.conflicts', type: 'counter', unit: '{session}' },
    help: 'Saves of a session that had changed since it was loaded.',
    read: ({ conflicts }) => [{ value: conflicts }],
  },
  {
    ...{ name: 'cache.reads', type: 'counter', unit: '{read}' },
    help: 'Reads by their result in the cache: hit, miss, or stale (cached, but not confirmed by the server).',
    read: ({ cache }) => [
      { result: 'hit', value: cache?.hits },
      { result: 'miss', value: cache?.misses },
      { result: 'stale', value: cache?.distrusted },
    ],
  },
  {
    ...{ name: 'cache.invalidations', type: 'counter', unit: '{invalidation}' },
    help: 'Invalidation messages received from Redis.',
    read: ({ cache }) => [{ value: cache?.invalidations }],
  },
  {
    ...{ name: 'cache.evictions', type: 'counter', unit: '{session}' },
    help: 'Sessions removed to stay within the limits of the cache.',
    read: ({ cache }) => [{ value: cache?.evictions }],
  },
  {
    ...{ name: 'cache.entries', type: 'sum', unit: '{session}' },
    help: 'Sessions in the cache.',
    read: ({ cache }) => [{ value: cache?.entries }],
  },
  {
    ...{ name: 'cache.size', type: 'sum', unit: 'By' },
    help: 'Bytes used by the cache.',
    read: ({ cache }) => [{ value: cache?.bytes }],
  },
];

/**
 * Returns the values of a metric with their labels. A figure that a store does not have, as those of a cache that is
 * off, is left out.
 *
 * @param {StoreMetric} metric
 * @param {StoreStats} stats
 */
function samplesOf(metric, stats) {
  return metric
    .read(stats)
    .flatMap(({ value, ...labels }) => (value === undefined ? [] : [{ labels, value }]));
}

/** @param {any} value */
const isStore = (value) => typeof value?.stats === 'function';

/**
 * Returns the stores of the option `stores` by their names: the keys of an object, else the positions in the array.
 *
 * @param {unknown} stores
 * @returns {[string, { stats(): StoreStats }][]}
 * @throws {TypeError} if there is anything else
 */
function namedStores(stores) {
  const expected = 'a RedisStore, an array of them, or an object with them as values';
  if (stores === null || typeof stores !== 'object') throw wrongType(optionName('stores'), expected, stores);
  const named = Object.entries(isStore(stores) ? [stores] : stores);
  for (const [, store] of named) if (!isStore(store)) throw wrongType(optionName('stores'), expected, store);
  return named;
}

/**
 * Rejects options that are not in `known`.
 *
 * @param {string} name the name of the function
 * @param {unknown} options
 * @param {string[]} known
 * @throws {TypeError}
 */
function checkKnown(name, options, known) {
  if (options === null || typeof options !== 'object')
    throw wrongType(`The options of ${name}`, 'an object', options);
  for (const field of Object.keys(options))
    if (!known.includes(field)) throw unknownField(name, field, known);
}

module.exports = { STORE_METRICS, samplesOf, namedStores, checkKnown };
