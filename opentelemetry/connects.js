'use strict';

const { tracingChannel } = require('node:diagnostics_channel');

/** @import { Meter } from '@opentelemetry/api' */
/** @import { ConnectContext } from '../index.js' */

const CHANNEL = tracingChannel('connect-redis-native:connect');
const BUCKETS_S = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10];

/** Records how long successful attempts to connect took. Returns a function that ends this. @param {Meter} meter */
function observeConnects(meter) {
  const createTime = meter.createHistogram('db.client.connection.create_time', {
    description: 'The time it took to create a new connection.',
    unit: 's',
    advice: { explicitBucketBoundaries: BUCKETS_S },
  });
  /** @type {WeakMap<object, number>} */
  const startedAt = new WeakMap();

  const subscribers = /** @type {any} */ ({
    start(/** @type {ConnectContext} */ context) {
      startedAt.set(context, performance.now());
    },
    asyncEnd(/** @type {ConnectContext} */ context) {
      const begin = startedAt.get(context);
      if (begin === undefined || context.error) return;
      const { serverAddress, serverPort } = context;
      const pool = serverPort === undefined ? serverAddress : `${serverAddress}:${serverPort}`;
      createTime.record((performance.now() - begin) / 1000, { 'db.client.connection.pool.name': pool });
    },
  });
  CHANNEL.subscribe(subscribers);
  return () => CHANNEL.unsubscribe(subscribers);
}

module.exports = { observeConnects };
