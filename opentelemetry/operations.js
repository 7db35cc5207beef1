'use strict';

const { tracingChannel } = require('node:diagnostics_channel');
const { errorAttributes, messageOf, peerAttributes, startAttributes } = require('./attributes.js');

/** @import { Attributes, Meter, Span, Tracer } from '@opentelemetry/api' */
/** @import { OperationContext } from '../index.js' */

const CHANNELS = ['get', 'set', 'touch', 'destroy', 'scan', 'clear'].map((name) =>
  tracingChannel(`connect-redis-native:${name}`),
);
/** Those of the conventions, and finer ones: most operations take less than a millisecond. */
const BUCKETS_S = [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10];

/**
 * Creates a span for each operation, and records its duration. Returns a function that ends this.
 *
 * @param {Pick<typeof import('@opentelemetry/api'), 'SpanKind' | 'SpanStatusCode'>} api
 * @param {Tracer} tracer
 * @param {Meter} meter
 * @param {boolean} hasSessionHash
 */
function observeOperations(api, tracer, meter, hasSessionHash) {
  const duration = meter.createHistogram('db.client.operation.duration', {
    description: 'Duration of database client operations.',
    unit: 's',
    advice: { explicitBucketBoundaries: BUCKETS_S },
  });
  /** @type {WeakMap<object, { span: Span, attributes: Attributes, startedAt: number }>} */
  const running = new WeakMap();

  /** Begins a span, a child of the active one: `start` is published in the caller's async context. */
  function start(/** @type {OperationContext} */ context) {
    const attributes = startAttributes(context);
    const name = String(attributes['db.query.summary']);
    const span = tracer.startSpan(name, { kind: api.SpanKind.CLIENT, attributes });
    running.set(context, { span, attributes, startedAt: performance.now() });
  }

  function asyncEnd(/** @type {OperationContext} */ context) {
    const operation = running.get(context);
    // The operation began before this instrumentation.
    if (operation === undefined) return;
    running.delete(context);
    const { span, attributes, startedAt } = operation;
    const { cache, transport, attempts, error } = context;
    const result = { ...errorAttributes(error), ...own({ cache, transport }) };
    duration.record((performance.now() - startedAt) / 1000, { ...attributes, ...result });
    if (span.isRecording()) {
      span.setAttributes({ ...result, ...own({ attempts }), ...peerAttributes(context) });
      if (hasSessionHash) span.setAttributes(own({ session_hash: context.sessionHash }));
      if (error) span.setStatus({ code: api.SpanStatusCode.ERROR, message: messageOf(error) });
    }
    span.end();
  }

  const subscribers = /** @type {any} */ ({ start, asyncEnd });
  for (const channel of CHANNELS) channel.subscribe(subscribers);
  return () => {
    for (const channel of CHANNELS) channel.unsubscribe(subscribers);
  };
}

/** Returns attributes of this package, without those that are undefined. @param {Attributes} attributes */
function own(attributes) {
  return Object.fromEntries(
    Object.entries(attributes)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => [`connect_redis_native.${name}`, value]),
  );
}

module.exports = { observeOperations };
